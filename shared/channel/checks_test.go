package channel_test

import (
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// TestSignedURL: the newest request that tells decides, whatever became of it behind
// its signature.
func TestSignedURL(t *testing.T) {
	const slash = webhook.HintCodes + "slash"
	for name, c := range map[string]struct {
		codes []string
		want  channel.CheckResult
		hint  string
	}{
		"nothing":   {nil, channel.Pending, ""},
		"unrelated": {[]string{"hook.sig_mismatch", "hook.sig_missing", "hook.flood"}, channel.Pending, ""},
		"differs":   {[]string{"hook.sig_missing", slash, "hook.accepted"}, channel.Failed, "slash"},
		"corrected": {[]string{"hook.accepted", slash}, channel.Passed, ""},
		"verifying": {[]string{"hook.sig_missing", "hook.install_verifying", slash}, channel.Passed, ""},
		"unbound":   {[]string{"hook.unbound", slash}, channel.Passed, ""},
		"a status":  {[]string{"hook.event_ignored", slash}, channel.Passed, ""},
		"repeated":  {[]string{"hook.duplicate", slash}, channel.Passed, ""},
		"malformed": {[]string{"hook.bad_payload", slash}, channel.Failed, "slash"},
	} {
		if got, hint := (channel.SetupInput{DeliveryCodes: c.codes}).SignedURL(); got != c.want || hint != c.hint {
			t.Errorf("%s: %s %q", name, got, hint)
		}
	}
}
