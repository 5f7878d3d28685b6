package e2e

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// speech is how one vendor says what the malformed answers are made of.
type speech struct {
	// event begins a stream with a text, usage counts and finishes, end ends it,
	// failure is an error in it. whole is an answer that is not streamed, usageKey the
	// member in it that counts, wholeFail an error with status 200.
	event func(text string) string
	usage string
	end   string
	// twice counts twice, the second time like usage, and finishes.
	twice     string
	failure   string
	whole     func(text string) string
	usageKey  string
	wholeFail string
}

func data(name, json string) string {
	if name != "" {
		name = "event: " + name + "\n"
	}
	return name + "data: " + json + "\n\n"
}

func chatSpeech() speech {
	chunk := func(rest string) string {
		return data("", `{"id":"c1","object":"chat.completion.chunk","created":1,"model":"sim-chat",`+rest+`}`)
	}
	usage := `{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500}`
	return speech{
		event: func(text string) string {
			return chunk(`"choices":[{"index":0,"delta":{"role":"assistant","content":"` + text + `"},"finish_reason":null}]`)
		},
		usage: chunk(`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]`) + chunk(`"choices":[],"usage":`+usage),
		end:   "data: [DONE]\n\n",
		twice: chunk(`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":`+strings.ReplaceAll(usage, "500", "400")) +
			chunk(`"choices":[],"usage":`+usage),
		failure:  data("", `{"error":{"message":"the vendor's own words","code":500}}`),
		usageKey: `"usage":` + usage,
		whole: func(text string) string {
			return `{"id":"c1","object":"chat.completion","created":1,"model":"sim-chat","choices":[{"index":0,"message":{"role":"assistant","content":"` + text +
				`"},"finish_reason":"stop"}],"usage":` + usage + `}`
		},
		wholeFail: `{"error":{"message":"the vendor's own words","code":500}}`,
	}
}

func messagesSpeech() speech {
	usage := `{"input_tokens":1000,"output_tokens":500}`
	return speech{
		event: func(text string) string {
			return data("message_start", `{"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","model":"sim-chat","content":[],"usage":{"input_tokens":1000,"output_tokens":1}}}`) +
				data("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`) +
				data("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"`+text+`"}}`)
		},
		usage: data("content_block_stop", `{"type":"content_block_stop","index":0}`) +
			data("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":500}}`),
		end: data("message_stop", `{"type":"message_stop"}`),
		twice: data("content_block_stop", `{"type":"content_block_stop","index":0}`) +
			data("message_delta", `{"type":"message_delta","delta":{"stop_reason":null,"stop_sequence":null},"usage":{"output_tokens":400}}`) +
			data("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":500}}`),
		failure:  data("error", `{"type":"error","error":{"type":"api_error","message":"the vendor's own words"}}`),
		usageKey: `"usage":` + usage,
		whole: func(text string) string {
			return `{"id":"m1","type":"message","role":"assistant","model":"sim-chat","content":[{"type":"text","text":"` + text +
				`"}],"stop_reason":"end_turn","stop_sequence":null,"usage":` + usage + `}`
		},
		wholeFail: `{"type":"error","error":{"type":"api_error","message":"the vendor's own words"}}`,
	}
}

func geminiSpeech() speech {
	usage := `{"promptTokenCount":1000,"candidatesTokenCount":500,"totalTokenCount":1500}`
	said := func(text, finish string) string {
		return `{"candidates":[{"content":{"parts":[{"text":"` + text + `"}],"role":"model"},"index":0` + finish + `}],"modelVersion":"sim-chat","responseId":"g1"`
	}
	return speech{
		event: func(text string) string { return data("", said(text, "")+"}") },
		usage: data("", said("", `,"finishReason":"STOP"`)+`,"usageMetadata":`+usage+"}"),
		twice: data("", said("", "")+`,"usageMetadata":`+strings.ReplaceAll(usage, "500", "400")+"}") +
			data("", said("", `,"finishReason":"STOP"`)+`,"usageMetadata":`+usage+"}"),
		failure:  data("", `{"error":{"code":500,"message":"the vendor's own words","status":"INTERNAL"}}`),
		usageKey: `"usageMetadata":` + usage,
		whole: func(text string) string {
			return said(text, `,"finishReason":"STOP"`) + `,"usageMetadata":` + usage + "}"
		},
		wholeFail: `{"error":{"code":500,"message":"the vendor's own words","status":"INTERNAL"}}`,
	}
}

// more is a further event of a stream that has begun.
func (s *speech) more(text string) string {
	ev := s.event(text)
	return ev[strings.LastIndex(strings.TrimSuffix(ev, "\n\n"), "\n\n")+1:]
}

// badVendor answers what the request's text asks for: "do:<kind>".
type badVendor struct{}

func (badVendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	_, kind, _ := strings.Cut(string(body), "do:")
	kind, _, _ = strings.Cut(kind, "!")
	var s speech
	stream := strings.Contains(string(body), `"stream":true`)
	switch {
	case strings.HasSuffix(r.URL.Path, "/chat/completions"):
		s = chatSpeech()
	case strings.HasSuffix(r.URL.Path, "/messages"):
		s = messagesSpeech()
	default:
		s, stream = geminiSpeech(), strings.HasSuffix(r.URL.Path, ":streamGenerateContent")
	}
	b := &badAnswer{w: w, r: r, s: s}
	h := w.Header()
	if stream {
		h.Set("Content-Type", "text/event-stream")
		b.stream(kind)
		return
	}
	h.Set("Content-Type", "application/json")
	b.whole(kind)
}

type badAnswer struct {
	w http.ResponseWriter
	r *http.Request
	s speech
}

// say sends at once; it is false when nobody listens any more.
func (b *badAnswer) say(text string) bool {
	_, err := io.WriteString(b.w, text)
	b.w.(http.Flusher).Flush()
	return err == nil && b.r.Context().Err() == nil
}

const page = "<!doctype html><title>Bad gateway</title>"

// stream answers a request for a stream.
func (b *badAnswer) stream(kind string) {
	h, s := b.w.Header(), &b.s
	switch kind {
	case "cut":
		b.say(s.event("half"))
		b.say(s.more("of it")[:20])
		panic(http.ErrAbortHandler)
	case "page":
		h.Set("Content-Type", "text/html; charset=utf-8")
		b.say(page)
	case "utf8":
		b.say(s.event("good"))
		b.say(s.more("bad \xff\xfe bytes") + s.usage + s.end)
	case "line":
		b.say(s.event("begun"))
		b.say("data: " + strings.Repeat("x", 4<<20))
	case "flood":
		b.say(s.event("begun"))
		for text := s.more(strings.Repeat("on and on ", 6000)); b.say(text); {
		}
	case "endless":
		b.say(s.event("begun"))
		b.drip(s.more("on and on "))
	case "bomb":
		h.Set("Content-Encoding", "gzip")
		b.bomb("data: ")
	case "loris":
		b.say(s.event("begun"))
		b.drip(":")
	case "silent":
		<-b.r.Context().Done()
	case "type":
		h.Set("Content-Type", "image/png")
		b.say(s.event("a picture") + s.usage + s.end)
	case "usage":
		// Numbers are cumulative: the last holds.
		b.say(s.event("counted") + s.twice + s.end)
	case "failure":
		b.say(s.event("begun"))
		b.say(s.failure)
	}
}

// whole answers a request that is not for a stream.
func (b *badAnswer) whole(kind string) {
	h, s := b.w.Header(), &b.s
	switch kind {
	case "cut":
		text := s.whole("half of it")
		h.Set("Content-Length", fmt.Sprint(len(text)))
		b.say(text[:len(text)/2])
		panic(http.ErrAbortHandler)
	case "page":
		h.Set("Content-Type", "text/html; charset=utf-8")
		b.say(page)
	case "utf8":
		b.say(s.whole("bad \xff\xfe bytes"))
	case "line":
		h.Set("X-Huge", strings.Repeat("x", 1<<20))
		b.say(s.whole("behind a huge header"))
	case "flood":
		b.say(`{"text":"`)
		for text := strings.Repeat("on and on ", 6000); b.say(text); {
		}
	case "endless":
		b.say(`{"text":"`)
		b.drip("on and on ")
	case "bomb":
		h.Set("Content-Encoding", "gzip")
		b.bomb(`{"text":"`)
	case "loris":
		b.say(`{"id":"`)
		b.drip("x")
	case "silent":
		<-b.r.Context().Done()
	case "type":
		h.Set("Content-Type", "text/event-stream")
		b.say(s.event("a stream nobody asked for") + s.usage + s.end)
	case "usage":
		b.say("{" + strings.ReplaceAll(s.usageKey, "500", "400") + "," + s.whole("counted")[1:])
	case "failure":
		b.say(s.wholeFail)
	}
}

// bomb is 1 GiB in about 1 MiB.
func (b *badAnswer) bomb(prefix string) {
	z := gzip.NewWriter(b.w)
	defer z.Close()
	if _, err := io.WriteString(z, prefix); err != nil {
		return
	}
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = 'x'
	}
	for range 1 << 10 {
		if _, err := z.Write(block); err != nil || b.r.Context().Err() != nil {
			return
		}
	}
}

// drip sends a byte now and then until nobody listens.
func (b *badAnswer) drip(text string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for b.say(text) {
		select {
		case <-tick.C:
		case <-b.r.Context().Done():
			return
		}
	}
}
