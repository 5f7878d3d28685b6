package install

import (
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// View is an install as clients see it.
type View struct {
	ID       string           `json:"id"`
	Provider taxonomy.Channel `json:"provider"`
	Mode     Mode             `json:"mode"`
	// App is the platform's app of an install of mode platform.
	App         string                  `json:"app,omitempty"`
	Label       string                  `json:"label,omitempty"`
	State       State                   `json:"state"`
	Config      map[string]any          `json:"config"`
	PublicURL   string                  `json:"public_url,omitempty"`
	Policy      Policy                  `json:"policy"`
	CallbackURL string                  `json:"callback_url"`
	Secrets     map[string][]SecretView `json:"secrets"`
	// Missing names what a draft still needs.
	Missing   []string  `json:"missing,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// SecretView describes one stored value: live first, retiring after.
type SecretView struct {
	State       string     `json:"state"` // live or retiring
	Fingerprint string     `json:"fingerprint,omitempty"`
	Hint        string     `json:"hint,omitempty"`
	RetireAt    *time.Time `json:"retire_at,omitempty"`
}

// View makes the client's view at now; values past their retirement are left
// out. Of a secret it holds what the field's declaration lets out, at most a
// hint; of settings the public ones.
func (s *Service) View(i Install, now time.Time) View {
	e, ok := s.Catalog.Find(i.Provider)
	if ok {
		e = Declared(i, e)
	}
	v := View{ID: i.ID, Provider: i.Provider, Mode: i.Mode, App: i.App, Label: i.Label, State: i.State, Config: map[string]any{},
		PublicURL: i.PublicURL, Policy: i.Policy.effective(), CallbackURL: CallbackURL(s.PublicURL, i), Secrets: map[string][]SecretView{},
		CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt}
	shown := i.Verifying(now)
	for _, f := range e.Config {
		switch vs := shown[f.Name]; {
		case len(vs) == 0 || !f.Spec().ShowsValue():
		case f.List:
			v.Config[f.Name] = vs
		default:
			v.Config[f.Name] = vs[0]
		}
	}
	for _, x := range i.Secrets {
		f, err := secretField(e, x.Name)
		if _, public := rotating(e, x.Name); err != nil && !public {
			continue // no longer declared, so nothing says what may be shown
		}
		if !f.Spec().ShowsHint() {
			x.Hint = ""
		}
		switch {
		case x.RetireAt.IsZero():
			v.Secrets[x.Name] = append(v.Secrets[x.Name], SecretView{State: "live", Fingerprint: x.Fingerprint, Hint: x.Hint})
		case now.Before(x.RetireAt):
			at := x.RetireAt
			one := SecretView{State: "retiring", RetireAt: &at}
			if err != nil {
				one.Fingerprint = x.Fingerprint // the public key itself
			}
			v.Secrets[x.Name] = append(v.Secrets[x.Name], one)
		}
	}
	if i.State == Draft {
		v.Missing = missing(i, e)
	}
	return v
}

func missing(i Install, e channel.Entry) []string {
	var out []string
	for _, f := range e.Secrets {
		if f.Required && !i.has(f.Name) {
			out = append(out, "secrets."+f.Name)
		}
	}
	for _, group := range e.Identity {
		if !identified(i, channel.Entry{Identity: [][]string{group}}) {
			out = append(out, "config."+group[0])
		}
	}
	for _, f := range e.Config {
		if f.Required && i.Config.Get(f.Name) == "" && !identifies(e, f.Name) {
			out = append(out, "config."+f.Name)
		}
	}
	if e.NeedsPublicURL && i.PublicURL == "" {
		out = append(out, "public_url")
	}
	return out
}

func identifies(e channel.Entry, name string) bool {
	for _, group := range e.Identity {
		if group[0] == name {
			return true
		}
	}
	return false
}
