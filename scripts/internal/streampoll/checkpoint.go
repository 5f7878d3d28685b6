package streampoll

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
)

// maxCheckpoint bounds the checkpoint file that is read.
const maxCheckpoint = 4 << 20

var unsafeInName = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// checkpoints is the mapping's durable progress, one small file, replaced
// atomically.
type checkpoints struct {
	path string
	mu   sync.Mutex
	file checkpointFile
}

type checkpointFile struct {
	StreamARN string               `json:"stream_arn"`
	Shards    map[string]shardMark `json:"shards"`
}

type shardMark struct {
	// Sequence is the last record that needs no delivery any more.
	Sequence string `json:"sequence,omitempty"`
	// Done: the shard is closed and all of it is delivered.
	Done bool `json:"done,omitempty"`
}

func openCheckpoints(dir string, m *Mapping) (*checkpoints, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("streampoll: state directory: %w", err)
	}
	sum := sha256.Sum256([]byte(m.StreamARN))
	name := unsafeInName.ReplaceAllString(m.Function, "_") + "-" + hex.EncodeToString(sum[:6]) + ".json"
	c := &checkpoints{path: filepath.Join(dir, name), file: checkpointFile{StreamARN: m.StreamARN}}
	defer func() {
		if c.file.Shards == nil {
			c.file.Shards = map[string]shardMark{}
		}
	}()
	info, err := os.Stat(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("streampoll: checkpoint: %w", err)
	}
	if info.Size() > maxCheckpoint {
		return nil, c.unreadable(errors.New("too large"))
	}
	data, err := os.ReadFile(c.path)
	if err != nil {
		return nil, fmt.Errorf("streampoll: checkpoint: %w", err)
	}
	if err := json.Unmarshal(data, &c.file); err != nil {
		return nil, c.unreadable(err)
	}
	if c.file.StreamARN != m.StreamARN {
		return nil, c.unreadable(errors.New("it belongs to another stream"))
	}
	return c, nil
}

func (c *checkpoints) unreadable(err error) error {
	return fmt.Errorf("streampoll: checkpoint %s: %w: remove the file to have the stream delivered again from its oldest record", c.path, err)
}

func (c *checkpoints) get(shard string) shardMark {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.Shards[shard]
}

func (c *checkpoints) set(shard string, mark shardMark) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file.Shards[shard] = mark
	return c.save()
}

// prune forgets shards that the stream no longer lists.
func (c *checkpoints) prune(listed map[string]bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := false
	for shard := range c.file.Shards {
		if !listed[shard] {
			delete(c.file.Shards, shard)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return c.save()
}

func (c *checkpoints) save() error {
	data, err := json.Marshal(c.file)
	if err != nil {
		return fmt.Errorf("streampoll: checkpoint: %w", err)
	}
	if err := writeFile(c.path, append(data, '\n')); err != nil {
		return fmt.Errorf("streampoll: checkpoint: %w", err)
	}
	return nil
}

// writeFile replaces a file so that a reader or a crash sees the old or the new
// content, never a part.
func writeFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// tracker turns completions in any order into a checkpoint that never passes an
// unfinished record.
type tracker struct {
	mu      sync.Mutex
	first   int64 // position of open[0]
	open    []tracked
	advance func(sequence string)
}

type tracked struct {
	sequence string
	done     bool
}

// add registers the next record in stream order.
func (t *tracker) add(sequence string) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = append(t.open, tracked{sequence: sequence})
	return t.first + int64(len(t.open)) - 1
}

// finish marks records as needing no more delivery and advances the checkpoint.
func (t *tracker) finish(positions ...int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range positions {
		if i := p - t.first; i >= 0 && i < int64(len(t.open)) {
			t.open[i].done = true
		}
	}
	n := 0
	for n < len(t.open) && t.open[n].done {
		n++
	}
	if n == 0 {
		return
	}
	last := t.open[n-1].sequence
	t.open = append([]tracked(nil), t.open[n:]...)
	t.first += int64(n)
	t.advance(last)
}

func (t *tracker) pending() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}
