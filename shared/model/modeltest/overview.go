package modeltest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"
)

// What a table says about one row.
const (
	// Sent: the vendor is asked for it.
	Sent = "sent"
	// NotOffered: the vendor has no word for the wish, and the answer is the same
	// without it; it is left out.
	NotOffered = "not offered"
)

// plainTwins are rows whose wish may be left out, and the same request without it.
func plainTwins() map[string]string {
	return map[string]string{"cache": "cache_unasked", "user": "plain", "name": "plain"}
}

// Offered reads the tables of one vendor's testdata/translate: for each wire format
// (the path, without the model), and in it for each model, what becomes of each shared
// row: [Sent], [NotOffered], or the fault code.
func Offered(dir string) (map[string][]map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	out := map[string][]map[string]string{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		sections := map[string][]byte{}
		for _, f := range txtar.Parse(data).Files {
			sections[f.Name] = f.Data
		}
		id := string(bytes.TrimSpace(sections["model"]))
		if id == "" {
			continue
		}
		line, _, _ := bytes.Cut(sections["plain.sent"], []byte("\n"))
		format := formatOf(strings.TrimPrefix(string(line), "POST "), id)
		rows := map[string]string{}
		for _, r := range shared() {
			code, _, refused := bytes.Cut(sections[r.name+".fault"], []byte(" "))
			twin := plainTwins()[r.name]
			switch {
			case refused:
				rows[r.name] = string(code)
			case twin != "" && bytes.Equal(sections[r.name+".sent"], sections[twin+".sent"]):
				rows[r.name] = NotOffered
			default:
				rows[r.name] = Sent
			}
		}
		out[format] = append(out[format], rows)
	}
	return out, nil
}
