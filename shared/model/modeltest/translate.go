package modeltest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
)

//go:embed translations.txtar
var translations []byte

// RunTranslations runs the vendor's translation tables, testdata/translate/*.txtar:
// one for each model (or family) it treats in its own way, and any with requests of
// its own. A table's sections:
//
//	model             the model ID; every request of translations.txtar is a row then
//	headers           golden: the headers that all requests of the table share
//	<row>             a request of this vendor alone
//	<row>.sent        golden: request line, headers of its own, body
//	<row>.fault       golden: code, param and message, if nothing is sent
//	<row>.json        the vendor's answer, whole
//	<row>.sse         the same answer as a stream; or
//	<row>.frames      as a stream of AWS messages, a line each
//	<row>.sent_stream golden: the request for the stream
//	<row>.response    golden: the answer, normalised
//	<row>.events      golden: the stream, normalised
//
// -update rewrites the golden sections. A row has one of sent and fault, so that no
// cell is forgotten; only invalid_request and unsupported_media may refuse. The
// stream must give the response of the whole answer, and the same events however it
// is cut and whatever its line ends are. Each row of [answered] must have an answer
// in one table of each wire format of the vendor, unless all of them refuse it.
func RunTranslations(t *testing.T, entry providers.Entry) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "translate", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables in testdata/translate (%v)", err)
	}
	var tables []*table
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			tables = append(tables, runTable(t, entry, path))
		})
	}
	checkAnswered(t, tables)
}

// Table runs one table, for a vendor that has no table of a model.
func Table(t *testing.T, entry providers.Entry, path string) {
	t.Helper()
	runTable(t, entry, path)
}

// table is one file while it is checked.
type table struct {
	model string
	given map[string][]byte
	rows  []row
	// got are the sections as they should be, in order; format is the path of the
	// first request that was sent, without the model.
	got    []txtar.File
	format string
}

type row struct {
	name    string
	request []byte
	own     bool
}

func readTable(t *testing.T, path string) (*table, *txtar.Archive) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := txtar.Parse(data)
	tb := &table{given: map[string][]byte{}}
	for _, f := range file.Files {
		if _, twice := tb.given[f.Name]; twice {
			t.Errorf("%s: two sections %s", path, f.Name)
		}
		tb.given[f.Name] = f.Data
	}
	if tb.model = string(bytes.TrimSpace(tb.given["model"])); tb.model != "" {
		tb.rows = shared()
	}
	for _, f := range file.Files {
		if f.Name != "model" && f.Name != "headers" && !strings.Contains(f.Name, ".") {
			tb.rows = append(tb.rows, row{name: f.Name, request: f.Data, own: true})
		}
	}
	return tb, file
}

// shared are the rows that all tables of models have.
func shared() (out []row) {
	for _, f := range txtar.Parse(translations).Files {
		out = append(out, row{name: strings.TrimSuffix(f.Name, ".json"), request: f.Data})
	}
	return out
}

func runTable(t *testing.T, entry providers.Entry, path string) *table {
	t.Helper()
	tb, file := readTable(t, path)
	for _, r := range tb.rows {
		t.Run(r.name, func(t *testing.T) { tb.run(t, entry, r) })
	}
	var head []txtar.File
	if tb.model != "" {
		head = append(head, txtar.File{Name: "model", Data: []byte(tb.model + "\n")})
	}
	if _, has := tb.given["headers"]; has || replay.Update() {
		head = append(head, txtar.File{Name: "headers", Data: tb.takeHeaders()})
	}
	tb.got = append(head, tb.got...)
	if replay.Update() {
		if err := os.WriteFile(path, txtar.Format(&txtar.Archive{Comment: file.Comment, Files: tb.got}), 0o644); err != nil {
			t.Fatal(err)
		}
		return tb
	}
	for _, f := range tb.got {
		if want, ok := tb.given[f.Name]; !bytes.Equal(want, f.Data) || !ok {
			t.Errorf("%s differs\n--- want\n%s\n--- got\n%s", f.Name, want, f.Data)
		}
		delete(tb.given, f.Name)
	}
	for name := range tb.given {
		t.Errorf("section %s belongs to no row, or its row is refused now", name)
	}
	return tb
}

func (tb *table) add(name string, data []byte) {
	tb.got = append(tb.got, txtar.File{Name: name, Data: data})
}

func (tb *table) run(t *testing.T, entry providers.Entry, r row) {
	t.Helper()
	if r.own {
		tb.add(r.name, r.request)
	}
	var req model.Request
	dec := json.NewDecoder(bytes.NewReader(bytes.Replace(r.request, []byte("{model}"), []byte(tb.model), 1)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		t.Fatal(err)
	}
	before := replay.Pretty(&req)
	sent, err := dispatched(entry, &req)
	if !bytes.Equal(before, replay.Pretty(&req)) {
		t.Error("the request was changed")
	}
	if sent == nil {
		tb.refused(t, entry, r, err)
		return
	}
	if tb.format == "" {
		line, _, _ := bytes.Cut(sent, []byte("\n"))
		tb.format = formatOf(string(line), req.Model)
	}
	_, body, _ := bytes.Cut(sent, []byte("\n\n"))
	if err := jsonwire.Check(body); err != nil {
		t.Errorf("%v in %s", err, body)
	}
	tb.add(r.name+".sent", sent)
	if tb.given[r.name+".json"] != nil || tb.given[r.name+".sse"] != nil || tb.given[r.name+".frames"] != nil {
		tb.answer(t, entry, r, &req)
	}
}

// formatOf is a request line without the model, which may be escaped in it.
func formatOf(line, id string) string {
	return strings.Replace(strings.Replace(line, id, "{model}", 1), url.QueryEscape(id), "{model}", 1)
}

func (tb *table) refused(t *testing.T, entry providers.Entry, r row, err error) {
	t.Helper()
	f := fault.As(err)
	if f == nil || f.Code != fault.InvalidRequest && f.Code != fault.UnsupportedMedia || f.Param == "" || f.Provider != string(entry.ID) {
		t.Fatalf("refused by %v", err)
	}
	(&replay.Transcript{}).CheckError(t, string(entry.ID), err)
	tb.add(r.name+".fault", fmt.Appendf(nil, "%s %s: %s\n", f.Code, f.Param, f.Message))
}

// dispatched is the HTTP request as golden files have it, or nil and the fault that
// came before anything was sent.
func dispatched(entry providers.Entry, r *model.Request) ([]byte, error) {
	s := &Scenario{Transcript: &replay.Transcript{Reply: replay.Reply{Status: 500}}, Request: r}
	o := s.try(entry, &replay.Exchange{Reply: s.Reply})
	if o.calls == 0 {
		return nil, o.err
	}
	return o.sent, o.err
}

// takeHeaders removes from all requests the header lines that they share and
// returns those.
func (tb *table) takeHeaders() []byte {
	var common []string
	first := true
	each := func(f func(sent *[]byte, head []string, body []byte)) {
		for i := range tb.got {
			if name := tb.got[i].Name; strings.HasSuffix(name, ".sent") || strings.HasSuffix(name, ".sent_stream") {
				head, body, _ := bytes.Cut(tb.got[i].Data, []byte("\n\n"))
				f(&tb.got[i].Data, strings.Split(string(head), "\n"), body)
			}
		}
	}
	each(func(_ *[]byte, head []string, _ []byte) {
		if first {
			common, first = slices.Clone(head[1:]), false
		}
		common = slices.DeleteFunc(common, func(line string) bool { return !slices.Contains(head[1:], line) })
	})
	each(func(sent *[]byte, head []string, body []byte) {
		head = slices.DeleteFunc(head, func(line string) bool { return slices.Contains(common, line) })
		*sent = fmt.Appendf(nil, "%s\n\n%s", strings.Join(head, "\n"), body)
	})
	return []byte(strings.Join(common, "\n") + "\n")
}
