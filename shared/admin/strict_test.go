package admin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
)

type sampleBody struct {
	Name   string            `json:"name" api:"required"`
	Count  int64             `json:"count"`
	When   *time.Time        `json:"when"`
	Free   map[string]string `json:"free"`
	Nested []struct {
		ID string `json:"id" api:"required"`
	} `json:"nested"`
	Key   secretText `json:"key"`
	Cells org.Models `json:"cells"`
}

func TestBodiesAreDecodedStrictly(t *testing.T) {
	for name, c := range map[string]struct{ body, param, message string }{
		"unknown field":        {`{"name":"a","nope":1}`, "nope", "does not exist"},
		"unknown nested field": {`{"name":"a","nested":[{"id":"x","nope":1}]}`, "nested.nope", "does not exist"},
		"other case":           {`{"name":"a","Count":1}`, "Count", "does not exist"},
		"folded letter":        {"{\"name\":\"a\",\"ne\u017fted\":[]}", "neted", "does not exist"},
		"twice":                {`{"name":"a","name":"b"}`, "name", "given twice"},
		"twice by escape":      {`{"name":"a","n\u0061me":"b"}`, "name", "given twice"},
		"twice nested":         {`{"name":"a","free":{"x":"1","x":"2"}}`, "free.x", "given twice"},
		"missing":              {`{"count":1}`, "name", "required"},
		"null":                 {`{"name":null}`, "name", "required"},
		"missing nested":       {`{"name":"a","nested":[{}]}`, "nested.id", "required"},
		"wrong type":           {`{"name":"a","count":"CANARY"}`, "count", "wrong type"},
		"fraction":             {`{"name":"a","count":1.5}`, "count", "wrong type"},
		"exponent":             {`{"name":"a","count":1e2}`, "count", "wrong type"},
		"overflow":             {`{"name":"a","count":99999999999999999999}`, "count", "wrong type"},
		"time":                 {`{"name":"a","when":"CANARY"}`, "", "wrong form"},
		"secret is a number":   {`{"name":"a","key":1234567}`, "", "wrong form"},
		"empty":                {`{}`, "name", "required"},
		"list":                 {`[]`, "", "must be a JSON object"},
		"text":                 {`"CANARY"`, "", "must be a JSON object"},
		"trailing":             {`{"name":"a"}{}`, "", "not one valid JSON"},
		"trailing text":        {`{"name":"a"} CANARY`, "", "not one valid JSON"},
		"broken":               {`{"name":`, "", "not one valid JSON"},
		"comma":                {`{"name":"a",}`, "", "not one valid JSON"},
		"utf8":                 {"{\"name\":\"\xff\"}", "", "UTF-8"},
		"deep":                 {`{"name":"a","free":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "", "too deeply"},
	} {
		var into sampleBody
		err := decodeStrict(append([]byte(c.body), ' '), &into)
		f := fault.As(err)
		if fault.CodeOf(err) != fault.InvalidRequest || f.Param != c.param || !strings.Contains(f.Message, c.message) || strings.Contains(f.Message, "CANARY") {
			t.Errorf("%s: %v param %q", name, err, fault.As(err).Param)
		}
	}
	var ok sampleBody
	err := decodeStrict([]byte(`{"name":"a","count":2,"when":"2026-01-01T00:00:00Z","free":{"Any Name":"x","any name":"y"},"nested":[{"id":"i"}],"key":"k","cells":"c"}`), &ok)
	if err != nil || ok.Count != 2 || len(ok.Free) != 2 || ok.Key.Len() != 1 || ok.Cells[0] != "c" || ok.Nested[0].ID != "i" {
		t.Fatalf("%+v, %v", ok, err)
	}
}

func FuzzDecodeStrict(f *testing.F) {
	for _, s := range []string{`{"name":"a","nested":[{"id":"x"}]}`, `{"a":{"a":1,"a":2}}`, "{\"\xff\":1}", `{"name":"a"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict, plain sampleBody
		err := decodeStrict(data, &strict)
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidRequest {
				t.Fatalf("%v", err)
			}
			return
		}
		if err := json.Unmarshal(data, &plain); err != nil || plain.Name != strict.Name {
			t.Fatalf("accepted %q, which is not JSON: %v", data, err)
		}
	})
}

func TestTransport(t *testing.T) {
	w := newWorld(t)
	auth := map[string][]string{"authorization": {"Bearer " + w.keys[adminKey]}}
	resp := w.do("PUT", "/api/orgs/acme/connections", adminKey, "{}")
	w.refused(resp, 405, fault.MethodNotAllowed, "")
	if resp.Header["allow"] != "GET, POST" {
		t.Errorf("allow %q", resp.Header["allow"])
	}
	for _, path := range []string{"/api", "/api/", "/api/orgs/", "/api/orgs/acme/", "/api/nope", "/api/orgs/acme/connections/a%23b", "/api/orgs/acme/connections/a/b/c",
		"/api/orgs/" + strings.Repeat("a", 65), "/api/models/conformance", "/api/rollouts"} {
		w.refused(w.do("GET", path, adminKey, ""), 404, fault.NotFound, "")
		w.refused(w.do("GET", path, "none", ""), 401, fault.GatewayAuth, "")
	}
	w.refused(w.do("PATCH", "/api/orgs/acme", adminKey, `{"name":"`+strings.Repeat("a", maxBody)+`"}`), 413, fault.TooLarge, "")
	auth["content-encoding"] = []string{"gzip"}
	w.refused(w.with(auth, "PATCH", "/api/orgs/acme", `{}`), 400, fault.InvalidRequest, "")
	w.refused(w.do("POST", "/api/orgs/acme/connections/x/revoke", adminKey, `{"force":true}`), 400, fault.InvalidRequest, "force")
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.must("POST", "/api/orgs/acme/agents", adminKey, fmt.Sprintf(`{"name":"a%d"}`, i), 201)
	}
	for _, path := range []string{"agents", "keys", "audit"} {
		var all, paged []string
		for _, item := range w.must("GET", "/api/orgs/acme/"+path, adminKey, "", 200)["items"].([]any) {
			all = append(all, item.(object)["id"].(string))
		}
		cursor, pages := "", 0
		for {
			answer := w.must("GET", "/api/orgs/acme/"+path+"?limit=2"+cursor, adminKey, "", 200)
			items := answer["items"].([]any)
			if len(items) > 2 {
				t.Fatalf("%s: %d items", path, len(items))
			}
			for _, item := range items {
				paged = append(paged, item.(object)["id"].(string))
			}
			pages++
			if answer["next_cursor"] == nil {
				break
			}
			cursor = "&cursor=" + answer["next_cursor"].(string)
		}
		if strings.Join(all, " ") != strings.Join(paged, " ") || pages < 3 {
			t.Errorf("%s: all %v, in %d pages %v", path, all, pages, paged)
		}
	}
	for query, param := range map[string]string{"limit=0": "limit", "limit=-1": "limit", "limit=x": "limit", "cursor=%25": "cursor", "cursor=a": "cursor",
		"cursor=" + base64.RawURLEncoding.EncodeToString([]byte("~~")): "cursor", "cursor=" + base64.RawURLEncoding.EncodeToString([]byte("a\x00")): "cursor",
		"cursor=" + strings.Repeat("YWFh", 200): "cursor"} {
		w.refused(w.do("GET", "/api/orgs/acme/agents?"+query, adminKey, ""), 400, fault.InvalidRequest, param)
	}
	w.must("GET", "/api/orgs/acme/agents?limit=100000", adminKey, "", 200)
}
