package mockvendor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/line/line-bot-sdk-go/v8/linebot/messaging_api"
)

// TestLineIsTheSDKs: LINE's own client reads what the simulated API answers, and
// what it refuses.
func TestLineIsTheSDKs(t *testing.T) {
	s := New()
	srv := httptest.NewServer(s)
	defer srv.Close()
	client := func(token string) *messaging_api.MessagingApiAPI {
		c, err := messaging_api.NewMessagingApiAPI(token, messaging_api.WithEndpoint(srv.URL+"/line"), messaging_api.WithHTTPClient(srv.Client()))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const chat, key = "U0000000000000000000000000000000a", "123e4567-e89b-12d3-a456-426614174000"
	c := client("tok")
	hello := []messaging_api.MessageInterface{messaging_api.TextMessage{Text: "hello"}}
	push := func(c *messaging_api.MessagingApiAPI, to, key string) (*messaging_api.PushMessageResponse, error) {
		return c.PushMessage(&messaging_api.PushMessageRequest{To: to, Messages: hello}, key)
	}
	got, err := push(c, chat, key)
	if err != nil || len(got.SentMessages) != 1 || got.SentMessages[0].Id == "" || got.SentMessages[0].QuoteToken == "" {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := push(c, chat, key); err == nil {
		t.Error("a retry key was taken twice")
	}
	if _, err := push(c, "somebody", ""); err == nil {
		t.Error("a chat that is none was taken")
	}
	reply := &messaging_api.ReplyMessageRequest{ReplyToken: "1-" + chat, Messages: hello}
	if got, err := c.ReplyMessage(reply); err != nil || len(got.SentMessages) != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := c.ReplyMessage(reply); err == nil {
		t.Error("a reply token was taken twice")
	}
	if _, err := c.ShowLoadingAnimation(&messaging_api.ShowLoadingAnimationRequest{ChatId: chat, LoadingSeconds: 20}); err != nil {
		t.Error(err)
	}
	if _, err := c.ShowLoadingAnimation(&messaging_api.ShowLoadingAnimationRequest{ChatId: "C0000000000000000000000000000000a", LoadingSeconds: 20}); err == nil {
		t.Error("a sign in a group")
	}
	s.AcceptOnly("other")
	if _, err := push(c, chat, ""); err == nil {
		t.Error("a token was taken that is refused")
	}
	if _, err := c.ShowLoadingAnimation(&messaging_api.ShowLoadingAnimationRequest{ChatId: chat, LoadingSeconds: 20}); err == nil {
		t.Error("a sign with a token that is refused")
	}
	if _, err := push(client("other"), chat, ""); err != nil {
		t.Error(err)
	}
	if p := s.Posts(); len(p) != 3 || p[0].Channel != chat || p[1].Channel != chat || p[2].KeyHash != Hash("other") || len(s.Signs()) != 1 {
		t.Errorf("%+v %+v", p, s.Signs())
	}
}

// TestLinePushesOnce: of pushes with one retry key at once one is taken, and the others
// are told of its message.
func TestLinePushesOnce(t *testing.T) {
	s := New()
	const keys, times = 100, 8
	var group sync.WaitGroup
	var mu sync.Mutex
	taken, sent := map[int]int{}, map[string]bool{}
	for n := range keys * times {
		group.Add(1)
		go func() {
			defer group.Done()
			r := httptest.NewRequest(http.MethodPost, "/line/v2/bot/message/push",
				strings.NewReader(`{"to":"U0000000000000000000000000000000a","messages":[{"type":"text","text":"hello"}]}`))
			r.Header.Set("Authorization", "Bearer tok")
			r.Header.Set("X-Line-Retry-Key", fmt.Sprintf("123e4567-e89b-12d3-a456-%012d", n/times))
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			var got struct{ SentMessages []struct{ ID string } }
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.SentMessages) != 1 {
				t.Errorf("%d: %s %v", w.Code, w.Body, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			taken[w.Code]++
			sent[got.SentMessages[0].ID] = true
		}()
	}
	group.Wait()
	if len(s.Posts()) != keys || taken[http.StatusOK] != keys || taken[http.StatusConflict] != keys*(times-1) || len(sent) != keys {
		t.Errorf("%d posts, %v, %d messages", len(s.Posts()), taken, len(sent))
	}
}
