package integration

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
)

func TestFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Values{}
		for range rapid.IntRange(1, 5).Draw(t, "fields") {
			name := rapid.StringMatching(`[A-Za-z0-9_-]{1,8}`).Draw(t, "name")
			want[name] = secret.New(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value"))
		}
		rev := rapid.Int64Range(1, 1<<40).Draw(t, "rev")
		_ = Frame("c1", rev, want).Use(func(frame []byte) error {
			got, gotRev, err := Unframe("c1", frame)
			if err != nil || gotRev != rev || !got.Equal(want) {
				t.Fatalf("%v, rev %d", err, gotRev)
			}
			if len(frame) < frameMin {
				t.Fatalf("%d bytes", len(frame))
			}
			if _, _, err := Unframe("c2", frame); err == nil {
				t.Fatal("opens as another credential's")
			}
			for _, bad := range [][]byte{frame[:len(frame)-1], append(bytes.Clone(frame), framePad), append([]byte("x"), frame[1:]...)} {
				if _, _, err := Unframe("c1", bad); err == nil {
					t.Fatal("a damaged frame opens")
				}
			}
			return nil
		})
	})
}

func FuzzUnframe(f *testing.F) {
	for _, v := range []Values{{Payload: secret.FromString("v")}, {"a": secret.Text{}, "b": secret.New(bytes.Repeat([]byte{0}, 600))}} {
		_ = Frame("c1", 7, v).Use(func(b []byte) error { f.Add(bytes.Clone(b)); return nil })
	}
	f.Add([]byte(frameMagic))
	f.Fuzz(func(t *testing.T, frame []byte) {
		v, rev, err := Unframe("c1", frame)
		if err != nil {
			return
		}
		// What is accepted is exactly what would be written.
		_ = Frame("c1", rev, v).Use(func(again []byte) error {
			if !bytes.Equal(frame, again) {
				t.Fatal("two frames for one value")
			}
			return nil
		})
	})
}

// Every step from every mode: forward, back, and what may not be.
func TestSteps(t *testing.T) {
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	whole := Integration{Rev: 3, New: NewHead{Rev: 3, VerifiedAt: at}, Legacy: LegacyHead{Rev: 3}}
	behindNew, behindLegacy, unverified, none, quarantined := whole, whole, whole, whole, whole
	behindNew.New.Rev, behindLegacy.Legacy.Rev, unverified.New.VerifiedAt, none.Legacy.Rev = 2, 2, time.Time{}, 0
	quarantined.Quarantine.Reason = CopiesDiffer
	ok := map[string]map[string]string{ // head → from → modes that may follow
		"whole":         {"legacy_only": "dual_write", "dual_write": "legacy_only dual_read", "dual_read": "dual_write new_only", "new_only": "dual_read", "purged": ""},
		"behind new":    {"legacy_only": "dual_write", "dual_write": "legacy_only dual_read", "dual_read": "dual_write", "new_only": "dual_read", "purged": ""},
		"behind legacy": {"legacy_only": "dual_write", "dual_write": "dual_read", "dual_read": "dual_write new_only", "new_only": "dual_read", "purged": ""},
		"unverified":    {"legacy_only": "dual_write", "dual_write": "legacy_only dual_read", "dual_read": "dual_write", "new_only": "dual_read", "purged": ""},
		"no legacy":     {"legacy_only": "", "dual_write": "", "dual_read": "", "new_only": "", "purged": ""},
		"quarantined":   {"legacy_only": "", "dual_write": "legacy_only", "dual_read": "dual_write", "new_only": "dual_read", "purged": ""},
	}
	for name, i := range map[string]Integration{"whole": whole, "behind new": behindNew, "behind legacy": behindLegacy, "unverified": unverified,
		"no legacy": none, "quarantined": quarantined} {
		for _, from := range Modes() {
			i.Mode = from
			var got []string
			for _, to := range append(Modes(), "other") {
				if err := i.Step(to); err == nil {
					got = append(got, string(to))
				} else if fault.CodeOf(err) != fault.Conflict {
					t.Errorf("%s %s to %s: %v", name, from, to, err)
				}
			}
			if strings.Join(got, " ") != ok[name][string(from)] {
				t.Errorf("%s in %s: %v, want %q", name, from, got, ok[name][string(from)])
			}
		}
	}
	whole.Mode, whole.Quarantine.Reason = LegacyOnly, Unreadable
	if whole.Step(DualWrite) == nil {
		t.Error("an unreadable record moves")
	}
}

func TestPurgeable(t *testing.T) {
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	good := Integration{Mode: NewOnly, Rev: 3, New: NewHead{Rev: 3, VerifiedAt: at}, Legacy: LegacyHead{Rev: 2}}
	if err := good.Purgeable(at.Add(Verified)); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Integration){
		"verified a moment too late": func(i *Integration) { i.New.VerifiedAt = at.Add(1) },
		"never verified":             func(i *Integration) { i.New.VerifiedAt = time.Time{} },
		"behind":                     func(i *Integration) { i.New.Rev = 2 },
		"no new copy":                func(i *Integration) { i.New.Rev = 0 },
		"dual_read":                  func(i *Integration) { i.Mode = DualRead },
		"purged":                     func(i *Integration) { i.Mode = Purged },
		"no legacy copy":             func(i *Integration) { i.Legacy.Rev = 0 },
		"quarantined":                func(i *Integration) { i.Quarantine.Reason = CopiesDiffer },
	} {
		i := good
		change(&i)
		if err := i.Purgeable(at.Add(Verified)); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseMode(t *testing.T) {
	for _, m := range Modes() {
		if _, err := ParseMode(string(m)); (err == nil) != (m != Purged) {
			t.Errorf("%s: %v", m, err)
		}
	}
	if _, err := ParseMode("LEGACY_ONLY"); fault.CodeOf(err) != fault.InvalidRequest {
		t.Error(err)
	}
	if DualRead.Toward(LegacyOnly) != DualWrite || LegacyOnly.Toward(NewOnly) != DualWrite || NewOnly.Toward(NewOnly) != NewOnly || Mode("x").Toward(NewOnly) != "x" {
		t.Error("the way is wrong")
	}
}

func TestShapes(t *testing.T) {
	i := Integration{Mode: LegacyOnly, Rev: 1, Legacy: LegacyHead{Rev: 1, Shapes: map[string]Shape{"a": ShapeCipher, "b": ShapeCipher}}}
	want := func(s Shape) {
		t.Helper()
		if got := i.Shape(); got != s {
			t.Errorf("%s, want %s", got, s)
		}
	}
	want(ShapeCipher)
	i.New.Rev = 1
	want(ShapeCipher)
	i.Mode = DualRead
	want(ShapeVault)
	i.Rev = 2
	i.Legacy.Rev = 2
	want(ShapeCipher) // the new copy is behind
	i.Legacy.Shapes["b"] = ShapePlaintext
	want("mixed")
	i.Legacy.Shapes["a"] = "v2"
	want("undeclared")
}
