package localkms

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// Key states, as DescribeKey shows them.
const (
	stateEnabled  = "Enabled"
	stateDisabled = "Disabled"
	statePending  = "PendingDeletion"
)

// stateVersion is the format of the state file; another one is refused.
const stateVersion = 1

// state is what the file holds.
type state struct {
	Version int              `json:"version"`
	Keys    map[string]*key  `json:"keys"`    // by key id
	Aliases map[string]alias `json:"aliases"` // by name, alias/…
}

type alias struct {
	KeyID   string    `json:"key_id"`
	Created time.Time `json:"created"`
}

// key is one KMS key. Materials are never removed: the last is the current one.
type key struct {
	ID            string     `json:"id"`
	Spec          string     `json:"spec"`
	State         string     `json:"state"`
	Created       time.Time  `json:"created"`
	DeletionDate  *time.Time `json:"deletion_date,omitempty"`
	PendingWindow int        `json:"pending_window_days,omitempty"`
	Rotations     int        `json:"rotations"`
	Materials     []material `json:"materials"`
}

// material is one generation of a key. ID is 64 hex digits, Key 32 bytes.
type material struct {
	ID  string `json:"id"`
	Key []byte `json:"key"`
}

func newMaterial() material {
	b := make([]byte, matIDBytes+32)
	_, _ = rand.Read(b) // never fails, per its documentation since Go 1.24
	return material{ID: hex.EncodeToString(b[:matIDBytes]), Key: b[matIDBytes:]}
}

func (k *key) current() material { return k.Materials[len(k.Materials)-1] }

func (k *key) usage() string {
	if k.Spec == HMAC256 {
		return "GENERATE_VERIFY_MAC"
	}
	return "ENCRYPT_DECRYPT"
}

// snapshot is a copy that stays valid without the lock: states change, materials
// are only appended.
func (k *key) snapshot() key { return *k }

func (s *Server) arn(keyID string) string {
	return "arn:aws:kms:" + s.cfg.Region + ":" + s.cfg.Account + ":key/" + keyID
}

func (s *Server) aliasARN(name string) string {
	return "arn:aws:kms:" + s.cfg.Region + ":" + s.cfg.Account + ":" + name
}

var keyIDPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

var aliasPattern = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]{1,250}$`)

// EnsureKey returns the ARN of the key with this alias ("alias/…") and creates
// it when there is none. The key id is derived from the alias, so the ARN is the
// same on every machine and after every fresh start; the material is random. An
// existing key of another spec is an error.
func (s *Server) EnsureKey(aliasName, spec string) (string, error) {
	if !aliasPattern.MatchString(aliasName) {
		return "", fmt.Errorf("localkms: %q is not an alias name (alias/…)", aliasName)
	}
	if spec != Symmetric && spec != HMAC256 {
		return "", fmt.Errorf("localkms: key spec %q is not supported", spec)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.state.Aliases[aliasName]; ok {
		if have := s.state.Keys[a.KeyID].Spec; have != spec {
			return "", fmt.Errorf("localkms: %s exists with spec %s, not %s", aliasName, have, spec)
		}
		return s.arn(a.KeyID), nil
	}
	sum := sha256.Sum256([]byte("latchkey/localkms/" + aliasName))
	var id [16]byte
	copy(id[:], sum[:])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8: made by a rule of our own
	keyID := awswire.FormatUUID(id)
	if _, ok := s.state.Keys[keyID]; !ok {
		s.state.Keys[keyID] = s.newKey(keyID, spec)
	}
	s.state.Aliases[aliasName] = alias{KeyID: keyID, Created: s.cfg.Clock.Now()}
	if err := s.saveLocked(); err != nil {
		return "", err
	}
	return s.arn(keyID), nil
}

func (s *Server) newKey(id, spec string) *key {
	return &key{
		ID: id, Spec: spec, State: stateEnabled, Created: s.cfg.Clock.Now(),
		Materials: []material{newMaterial()},
	}
}

// resolve finds a key by id, key ARN, alias name or alias ARN.
func (s *Server) resolve(id string) (key, error) {
	if id == "" {
		return key{}, invalid("KeyId is required")
	}
	name := id
	if strings.HasPrefix(id, "arn:") {
		parts := strings.SplitN(id, ":", 6)
		if len(parts) != 6 || parts[2] != "kms" {
			return key{}, awswire.NewError("InvalidArnException", "the key ARN is not well formed")
		}
		if parts[3] != s.cfg.Region || parts[4] != s.cfg.Account {
			return key{}, notFound(id)
		}
		name = strings.TrimPrefix(parts[5], "key/")
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if strings.HasPrefix(name, "alias/") {
		a, ok := s.state.Aliases[name]
		if !ok {
			return key{}, awswire.NewError("NotFoundException", "alias "+s.aliasARN(name)+" is not found")
		}
		name = a.KeyID
	}
	k, ok := s.state.Keys[name]
	if !ok {
		return key{}, notFound(id)
	}
	return k.snapshot(), nil
}

func notFound(id string) error {
	return awswire.NewError("NotFoundException", "key "+id+" does not exist")
}

// change applies f to a key under the lock and saves. f's error changes nothing.
func (s *Server) change(keyID string, f func(*key) error) (key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.state.Keys[keyID]
	before := *k
	if err := f(k); err != nil {
		*k = before
		return key{}, err
	}
	if err := s.saveLocked(); err != nil {
		*k = before
		return key{}, err
	}
	return k.snapshot(), nil
}

// load reads the state file.
func (s *Server) load() error {
	if s.cfg.Path == "" {
		return nil
	}
	data, err := os.ReadFile(s.cfg.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("localkms: reading the state: %w", err)
	}
	var st state
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&st); err != nil || st.Version != stateVersion || !st.sound() {
		return fmt.Errorf("localkms: %s is damaged or of another version; restore it, or remove it together with the data encrypted under it", s.cfg.Path)
	}
	s.state = st
	return nil
}

// sound reports whether every reference and every key is whole.
func (st state) sound() bool {
	if st.Keys == nil || st.Aliases == nil {
		return false
	}
	for id, k := range st.Keys {
		if k == nil || k.ID != id || !keyIDPattern.MatchString(id) || len(k.Materials) == 0 {
			return false
		}
		for _, m := range k.Materials {
			if len(m.ID) != 2*matIDBytes || !hexOnly(m.ID) || len(m.Key) != 32 {
				return false
			}
		}
	}
	for _, a := range st.Aliases {
		if st.Keys[a.KeyID] == nil {
			return false
		}
	}
	return true
}

func hexOnly(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil
}

// saveLocked writes the state beside the file, flushes it and renames it over,
// so that a crash leaves the old or the new state, never half of one.
func (s *Server) saveLocked() error {
	if s.cfg.Path == "" {
		return nil
	}
	s.state.Version = stateVersion
	data, err := json.MarshalIndent(s.state, "", " ")
	if err != nil {
		return err
	}
	// CreateTemp makes the file with mode 0600.
	f, err := os.CreateTemp(filepath.Dir(s.cfg.Path), ".kms-*")
	if err != nil {
		return fmt.Errorf("localkms: saving the state: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.cfg.Path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("localkms: saving the state: %w", err), os.Remove(f.Name()))
	}
	return nil
}
