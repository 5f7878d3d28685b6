package modeltest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
)

// Table checks how canonical requests are translated, from one data file: a
// section NAME holds a request, and the golden section after it is either
// NAME.sent, the HTTP request, or NAME.fault, the code, field and message of a
// request that was refused before anything was sent. -update rewrites the golden
// sections. Whatever is sent must be one valid JSON object without a key twice.
func Table(t *testing.T, entry providers.Entry, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := txtar.Parse(data)
	golden := map[string][]byte{}
	for _, f := range file.Files {
		golden[f.Name] = f.Data
	}
	out := &txtar.Archive{Comment: file.Comment}
	for _, f := range file.Files {
		if strings.HasSuffix(f.Name, ".sent") || strings.HasSuffix(f.Name, ".fault") {
			continue
		}
		out.Files = append(out.Files, f)
		t.Run(f.Name, func(t *testing.T) {
			kind, got := tableCase(t, entry, f.Data)
			out.Files = append(out.Files, txtar.File{Name: f.Name + kind, Data: got})
			if !replay.Update() && !bytes.Equal(golden[f.Name+kind], got) {
				t.Errorf("%s differs\n--- want\n%s\n--- got\n%s", kind, golden[f.Name+kind], got)
			}
		})
	}
	if replay.Update() {
		if err := os.WriteFile(path, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if len(out.Files) != len(file.Files) {
		t.Errorf("%d sections, want %d: a case has both kinds of golden section, or none", len(file.Files), len(out.Files))
	}
}

func tableCase(t *testing.T, entry providers.Entry, data []byte) (kind string, got []byte) {
	t.Helper()
	var r model.Request
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		t.Fatal(err)
	}
	x := &replay.Exchange{Reply: replay.Reply{Status: 500, Header: http.Header{}}}
	var err error
	if r.Stream {
		_, err = entry.NewChat().Stream(context.Background(), call(&r, x))
	} else {
		_, err = entry.NewChat().Complete(context.Background(), call(&r, x))
	}
	if x.Calls == 0 {
		f := fault.As(err)
		(&replay.Transcript{}).CheckError(t, string(entry.ID), err)
		return ".fault", fmt.Appendf(nil, "%s %s: %s\n", f.Code, f.Param, f.Message)
	}
	_, body, _ := bytes.Cut(x.Sent, []byte("\n\n"))
	if err := jsonwire.Check(body); err != nil {
		t.Errorf("%v in %s", err, body)
	}
	return ".sent", x.Sent
}
