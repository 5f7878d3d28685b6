package stack

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

func TestProcesses(t *testing.T) {
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_local/functions" {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`[{"name":"turn","environments":[{"pid":7,"state":"busy"}]},
			{"name":"invoke","environments":[{"pid":1,"state":"idle"},{"pid":3,"state":"busy","request_id":"r"},{"pid":2,"state":"busy"}]}]`))
	}))
	defer s.Close()
	for state, want := range map[string][]int{"busy": {3, 2}, "idle": {1}, "": {1, 3, 2}, "starting": nil} {
		if got, err := (Client{Base: s.URL}).Processes(t.Context(), "invoke", state); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", state, got, err)
		}
	}
	if got, err := (Client{Base: s.URL}).Processes(t.Context(), "nobody", ""); err == nil {
		t.Errorf("a function that is not there has %v", got)
	}
	status = http.StatusServiceUnavailable
	if got, err := (Client{Base: s.URL}).Processes(t.Context(), "invoke", ""); Status(err) != status {
		t.Errorf("%v, %v", got, err)
	}
}
