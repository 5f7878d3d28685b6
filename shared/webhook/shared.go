package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// SharedValue is the scheme of vendors that send the secret itself in a header.
// It proves the sender, not the body. Values are compared as hashes, so that
// neither content nor length shows in the time.
type SharedValue struct {
	Profile string // verification profile's name
	// Header is the header's name; empty: the settings say it.
	Header string
	// HeaderSettings are the settings that may hold the name, first one set wins.
	HeaderSettings []string
	// Basic expects "Basic " and base64 of the secret, which is user:password.
	Basic bool
	// MethodSetting names the setting that chooses the method, which must then
	// be empty or "basic"; another method is refused, not ignored.
	MethodSetting string
	// Valid says whether a value is in the vendor's alphabet; nil: any is.
	Valid func(string) bool
}

const basicTag = "Basic "

// Name is the profile's name.
func (s SharedValue) Name() string { return s.Profile }

// NeedsSecret is true.
func (s SharedValue) NeedsSecret() bool { return true }

func (s SharedValue) header(c Config) string {
	if s.Header != "" {
		return s.Header
	}
	for _, name := range s.HeaderSettings {
		if h := c.Get(name); h != "" {
			return h
		}
	}
	return ""
}

// Check compares under every secret.
func (s SharedValue) Check(in Input, secrets []secret.Text, _ time.Time) (Result, *Refusal) {
	if s.MethodSetting != "" {
		if m := in.Config.Get(s.MethodSetting); m != "" && m != "basic" {
			return Result{}, &Refusal{AlgRefused}
		}
	}
	name := s.header(in.Config)
	if name == "" {
		return Result{}, &Refusal{NoSecret}
	}
	got, why := in.Header.single(name)
	if why != "" {
		return Result{}, &Refusal{why}
	}
	if len(got) > maxHeader || s.Valid != nil && !s.Valid(got) {
		return Result{}, &Refusal{SigFormat}
	}
	if s.Basic {
		text, ok := strings.CutPrefix(got, basicTag)
		raw, err := base64.StdEncoding.Strict().DecodeString(text)
		if !ok || err != nil {
			return Result{}, &Refusal{SigFormat}
		}
		got = string(raw)
	}
	match, have := -1, sha256.Sum256([]byte(got))
	for i, k := range secrets {
		var want [sha256.Size]byte
		err := k.Use(func(b []byte) error { want = sha256.Sum256(b); return nil })
		if err != nil {
			return Result{}, &Refusal{NoSecret}
		}
		if hmac.Equal(want[:], have[:]) && match < 0 {
			match = i
		}
	}
	if match < 0 {
		return Result{}, &Refusal{SigMismatch}
	}
	return Result{SecretIndex: match}, nil
}

// Sign adds the header to in.
func (s SharedValue) Sign(in *Input, key secret.Text, _ time.Time) error {
	name := s.header(in.Config)
	switch {
	case key.IsZero():
		return ErrEmptySecret
	case name == "":
		return errUnsignable
	}
	if in.Header == nil {
		in.Header = Header{}
	}
	return key.Use(func(b []byte) error {
		v := string(b)
		if s.Valid != nil && !s.Valid(v) {
			return errUnsignable
		}
		if s.Basic {
			v = basicTag + base64.StdEncoding.EncodeToString(b)
		}
		in.Header.Add(name, v)
		return nil
	})
}
