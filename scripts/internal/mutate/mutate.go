// Package mutate builds the functions with one guard of the source taken out, to
// show that a harness finds that out.
//
// A change is pairs of texts. Each first one must stand exactly once in its file,
// so that a change of the source is noticed instead of making another mutant. The
// source is not touched: the changed file is put in place by go build -overlay.
package mutate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/topology"
)

// Change is one mutant. Functions are built anew, the others are those of every
// stack. File is a path below the root, with slashes.
type Change struct {
	Name      string
	Functions []string
	File      string
	Edits     [][2]string
	// More are the edits of other files, by path: a guard may stand in two places.
	More map[string][][2]string
}

// Text is the changed File; an error if the change does not fit the source.
func (c Change) Text(root string) (string, error) {
	texts, err := c.texts(root)
	return texts[c.File], err
}

// texts are all changed files by path.
func (c Change) texts(root string) (map[string]string, error) {
	out := map[string]string{}
	edits := map[string][][2]string{c.File: c.Edits}
	maps.Copy(edits, c.More)
	for file, all := range edits {
		text, err := c.edited(root, file, all)
		if err != nil {
			return nil, err
		}
		out[file] = text
	}
	return out, nil
}

func (c Change) edited(root, file string, edits [][2]string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		return "", err
	}
	text := string(b)
	for _, e := range edits {
		if n := strings.Count(text, e[0]); n != 1 {
			return "", fmt.Errorf("%s: %q stands %d times in %s: the source has changed, change the mutant with it", c.Name, e[0], n, file)
		}
		text = strings.Replace(text, e[0], e[1], 1)
	}
	return text, nil
}

// Build puts all functions into the existing folder dir, those of the change
// built with it.
func (c Change) Build(ctx context.Context, root, dir string) error {
	texts, err := c.texts(root)
	if err != nil {
		return err
	}
	replaced, overlay := map[string]string{}, filepath.Join(dir, "overlay.json")
	for file, text := range texts {
		changed := filepath.Join(dir, fmt.Sprintf("mutant%d.go", len(replaced)))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return err
		}
		replaced[filepath.Join(root, filepath.FromSlash(file))] = changed
	}
	replace, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return err
	}
	if err := Copy(ctx, root, dir); err != nil {
		return err
	}
	for _, f := range c.Functions {
		out := filepath.Join(dir, f)
		if err := os.Remove(out); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", out, "./functions/"+f)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if msg, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s does not build: %s", c.Name, msg)
		}
	}
	return nil
}

// Copy builds the functions of the source and gives dir a name of its own to each,
// so that another build does not change what a run starts.
func Copy(ctx context.Context, root, dir string) error {
	built := filepath.Join(root, "build", "local")
	if err := stack.Build(ctx, root, built); err != nil {
		return err
	}
	for _, f := range topology.Functions() {
		if err := os.Link(filepath.Join(built, f.Name), filepath.Join(dir, f.Name)); err == nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join(built, f.Name)) // another file system
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.Name), b, 0o700)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
