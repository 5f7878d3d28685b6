package install

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Public keys verify requests and are settings, because nothing of them is secret.
// They are replaced as secrets are: a value that was replaced stands behind the live
// one in the settings, and a [Secret] of the setting's name, with the value itself as
// fingerprint, says until when.

// Verifying are the settings as they verify requests at now: without the values whose
// time is over.
func (i Install) Verifying(now time.Time) webhook.Config {
	return i.without(func(s Secret) bool { return !now.Before(s.RetireAt) })
}

// Retired are the values whose time is over, nil without one.
func (i Install) Retired(now time.Time) webhook.Config {
	var out webhook.Config
	for _, s := range i.Secrets {
		if slices.Contains(i.Config[s.Name], s.Fingerprint) && !s.RetireAt.IsZero() && !now.Before(s.RetireAt) {
			if out == nil {
				out = webhook.Config{}
			}
			out[s.Name] = append(out[s.Name], s.Fingerprint)
		}
	}
	return out
}

// without leaves out the values that are being replaced and gone.
func (i Install) without(gone func(Secret) bool) webhook.Config {
	out := i.Config
	for _, s := range i.Secrets {
		if s.RetireAt.IsZero() || !gone(s) || !slices.Contains(out[s.Name], s.Fingerprint) {
			continue
		}
		out = maps.Clone(out)
		out[s.Name] = slices.DeleteFunc(slices.Clone(out[s.Name]), func(v string) bool { return v == s.Fingerprint })
	}
	return out
}

// rotating finds a setting that is replaced like a secret.
func rotating(e channel.Entry, name string) (channel.ConfigField, bool) {
	k := slices.IndexFunc(e.Config, func(f channel.ConfigField) bool { return f.Rotates && f.Name == name })
	if k < 0 {
		return channel.ConfigField{}, false
	}
	return e.Config[k], true
}

// changeable refuses a rotation that cannot be.
func changeable(i Install) error {
	switch {
	case i.State == Revoked:
		return conflict("the install is revoked; create a new one")
	case i.Mode == Platform:
		return authorised()
	}
	return nil
}

// rotateSetting makes value the live one; the others verify until retireAt.
func (s *Service) rotateSetting(ctx context.Context, op audit.Op, orgID, id, name string, value secret.Text, retireAt time.Time) (Install, error) {
	return s.change(ctx, op, orgID, id, "rotate", func(i Install, e channel.Entry) (Install, error) {
		f, _ := rotating(e, name)
		if err := changeable(i); err != nil {
			return i, err
		}
		var text string
		if err := value.Use(func(b []byte) error { text = string(b); return nil }); err != nil || text == "" {
			return i, invalid("value", "give the new value")
		}
		if err := checkSetting(f, []string{text}); err != nil {
			return i, fault.As(err).WithParam("value")
		}
		if retireAt.IsZero() {
			retireAt = op.At.Add(channel.DefaultOverlap)
		}
		live := i.without(func(Secret) bool { return true })[name]
		if slices.Equal(live, []string{text}) {
			return i, nil
		}
		i = retire(i, name, text, live, op.At, retireAt)
		if len(i.Config[name]) > webhook.MaxKeys {
			return i, conflict("too many values are being replaced; finish that first")
		}
		i.Version++
		return i, nil
	})
}

// retire puts text before the values of a setting that verify at now; the live ones
// do so until at.
func retire(i Install, name, text string, live []string, now, at time.Time) Install {
	mine := func(s Secret) bool { return s.Name == name }
	kept, values := slices.DeleteFunc(slices.Clone(i.Secrets), mine), []string{text}
	for _, s := range i.Secrets {
		if mine(s) && s.Fingerprint != text && now.Before(s.RetireAt) {
			kept, values = append(kept, s), append(values, s.Fingerprint)
		}
	}
	for _, v := range live {
		if v != text && now.Before(at) {
			kept = append(kept, Secret{Name: name, Fingerprint: v, RetireAt: at.UTC().Truncate(time.Millisecond)})
			values = append(values, v)
		}
	}
	i.Config, i.Secrets = maps.Clone(i.Config), kept
	i.Config[name] = values
	sortSecrets(i.Secrets)
	return i
}

// settleSetting leaves the live values only.
func settleSetting(i Install, name string) (Install, error) {
	if err := changeable(i); err != nil {
		return i, err
	}
	if !slices.ContainsFunc(i.Secrets, func(s Secret) bool { return s.Name == name }) {
		return i, nil
	}
	i.Config = i.without(func(s Secret) bool { return s.Name == name })
	i.Secrets = unrotated(i.Secrets, name)
	i.Version++
	return i, nil
}

// unrotated forgets that values of a setting are being replaced.
func unrotated(all []Secret, name string) []Secret {
	return slices.DeleteFunc(slices.Clone(all), func(s Secret) bool { return s.Name == name })
}
