package modeltest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
)

//go:embed translations.txtar
var translations []byte

// RunTranslations compares what a vendor is sent for each request of
// translations.txtar, byte for byte. The vendor's testdata/translate has one
// <name>.txtar for each model (or family) it treats in its own way:
//
//	model         the model ID
//	<cell>.body   golden: the request body
//	<cell>.fault  golden: code, param and message of the refusal, if nothing is
//	              sent
//
// A request must have one of the two, so that no cell of the table is forgotten;
// -update rewrites them. Only invalid_request and unsupported_media may refuse.
func RunTranslations(t *testing.T, entry providers.Entry) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "translate", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no models in testdata/translate (%v)", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { runModel(t, entry, path) })
	}
}

func runModel(t *testing.T, entry providers.Entry, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden := txtar.Parse(data)
	id := string(bytes.TrimSpace(section(golden, "model")))
	if id == "" {
		t.Fatalf("%s names no model", path)
	}
	got := &txtar.Archive{Comment: golden.Comment, Files: []txtar.File{{Name: "model", Data: []byte(id + "\n")}}}
	for _, cell := range txtar.Parse(translations).Files {
		name := strings.TrimSuffix(cell.Name, ".json")
		f := translate(t, entry, id, name, cell.Data)
		got.Files = append(got.Files, f)
		if want := section(golden, f.Name); !replay.Update() && !bytes.Equal(want, f.Data) {
			t.Errorf("%s differs\n--- want\n%s\n--- got\n%s", f.Name, want, f.Data)
		}
	}
	if replay.Update() {
		if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if len(golden.Files) != len(got.Files) {
		t.Errorf("%s has %d sections, there are %d", path, len(golden.Files), len(got.Files))
	}
}

func translate(t *testing.T, entry providers.Entry, id, name string, cell []byte) txtar.File {
	t.Helper()
	var r model.Request
	dec := json.NewDecoder(bytes.NewReader(bytes.Replace(cell, []byte("{model}"), []byte(id), 1)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	before := replay.Pretty(&r)
	body, err := Encoded(entry, &r)
	if !bytes.Equal(before, replay.Pretty(&r)) {
		t.Errorf("%s: the request was changed", name)
	}
	if err != nil {
		f := fault.As(err)
		if f == nil || f.Code != fault.InvalidRequest && f.Code != fault.UnsupportedMedia || f.Param == "" || f.Provider != string(entry.ID) {
			t.Errorf("%s: refused by %v", name, err)
			f = &fault.Error{}
		}
		return txtar.File{Name: name + ".fault", Data: replay.Pretty(map[string]string{"code": string(f.Code), "param": f.Param, "message": f.Message})}
	}
	if !json.Valid(body) {
		t.Errorf("%s: %s is no JSON", name, body)
	}
	return txtar.File{Name: name + ".body", Data: body}
}

func section(a *txtar.Archive, name string) []byte {
	if i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name }); i >= 0 {
		return a.Files[i].Data
	}
	return nil
}
