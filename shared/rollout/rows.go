package rollout

import (
	"slices"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Cell is what a channel has to do in one row of the security matrix.
type Cell struct {
	// Status is the HTTP status that the sender, or who saves a setting, sees; 0
	// for what happens after the answer.
	Status int
	// Audit is the code of the record that must be written.
	Audit string
	// NotApplicable says why the channel has no such case. Pending names what has
	// to exist before the cell can be played; it counts as a failure.
	NotApplicable, Pending string
}

// Row is one attack or fault.
type Row struct {
	N     int
	Title string
	// Cells are what each of [Columns] has to do.
	Cells map[taxonomy.Channel]Cell
}

// Rows lists the matrix in its order. Where the contract of the HTTP surface says
// something else than the reference it was made from, it says what the contract
// says: an install that may not be shown to exist is 401.
func Rows() []Row {
	rows, all := slices.Concat(atTheDoor(), inTheBody(), behindTheQueue()), columns()
	out := make([]Row, len(rows))
	for i, r := range rows {
		out[i] = Row{N: i + 1, Title: r.title, Cells: make(map[taxonomy.Channel]Cell, len(all))}
		for _, c := range all {
			cell, differs := c.differs[i+1]
			if !differs {
				cell = r.cell
			}
			out[i].Cells[c.id()] = cell
		}
	}
	return out
}

// row is an attack and what a channel has to do that has the case; a column lists
// where its channel differs.
type row struct {
	title string
	cell  Cell
}

func is(status int, audit string) Cell { return Cell{Status: status, Audit: audit} }

func none(why string) Cell { return Cell{NotApplicable: why} }

// atTheDoor are the rows until the signature is accepted.
func atTheDoor() []row {
	mismatch := is(401, "hook.sig_mismatch")
	return []row{
		{"unknown install in the path", is(401, "hook.install_unknown")},
		{"the path's provider is not the install's", is(401, "hook.provider_mismatch")},
		{"install suspended or revoked", is(401, "hook.install_inactive")},
		{"no secret, or an empty one, on the install", is(401, "hook.no_secret")},
		{"key service refuses or does not answer", is(503, "hook.secret_unavailable")},
		{"signature header missing", is(401, "hook.sig_missing")},
		{"signature malformed or cut short", is(401, "hook.sig_format")},
		{"body changed after signing", mismatch},
		{"another secret, or another install's", mismatch},
		{"old timestamp", is(401, "hook.stale")},
		{"future timestamp", is(401, "hook.future")},
		{"signature or timestamp header twice", is(401, "hook.header_duplicate")},
		{"weaker algorithm or version named", is(401, "hook.alg_refused")},
		{"unknown key id", is(401, "hook.key_unknown")},
		{"key set unreachable, none cached", is(503, "hook.jwks_unavailable")},
		{"wrong audience or issuer", is(401, "hook.claim_refused")},
		{"right token of another identity", is(401, "hook.identity_refused")},
		{"service URL of another host", is(401, "hook.service_url_refused")},
	}
}

// inTheBody are the rows of verified requests, handshakes and limits.
func inTheBody() []row {
	mismatch := is(401, "hook.sig_mismatch")
	return []row{
		{"exact replay inside the window", is(200, "hook.duplicate")},
		{"replay with a changed unsigned header", is(200, "hook.duplicate")},
		{"valid signature, another tenant in the body", is(403, "hook.tenant_mismatch")},
		{"platform app, workspace not bound", is(200, "hook.unbound")},
		{"event of an organisation's app on a platform app's path", mismatch},
		{"handshake without its proof", is(401, "hook.handshake_refused")},
		{"handshake with a wrong token", is(403, "hook.handshake_refused")},
		{"request while the install is a draft", is(401, "hook.install_inactive")},
		{"wrong method", is(405, "hook.method")},
		{"body above the limit", is(413, "hook.too_large")},
		{"signed, but not JSON or not UTF-8", is(400, "hook.bad_payload")},
		{"signed, with a name twice or nested too deep", is(400, "hook.bad_payload")},
		{"Host and forwarding headers forged", is(200, "hook.accepted")},
		{"URL differs from the configured one", mismatch},
	}
}

// behindTheQueue are the rows of settings, of dispatch and of turns.
func behindTheQueue() []row {
	return []row{
		{"the bot's own message", is(200, "turn.self_ignored")},
		{"another bot's message", is(200, "turn.bot_ignored")},
		{"loop of bots above its budget", is(200, "turn.loop_suppressed")},
		{"one post delivered as two events", is(200, "hook.duplicate_content")},
		{"two agents bound to one selector", is(409, "binding.ambiguous")},
		{"one token in two installs", is(409, "install.token_in_use")},
		{"queue does not take the event", is(503, "hook.enqueue_failed")},
		{"dedupe store throttled", is(503, "hook.dedupe_unavailable")},
		{"worker dies after asking the model", is(0, "turn.retry")},
		{"connection lost while a reply is sent", is(0, "reply.unknown")},
		{"reply for another tenant", is(0, "reply.tenant_guard")},
		{"vendor rejects the token, three times", is(0, "install.token_rejected")},
		{"secret used after its rotation ended", is(401, "hook.sig_mismatch")},
		{"OAuth state missing, used or another organisation's", is(400, "oauth.state_refused")},
		{"app removed or token revoked at the vendor", is(200, "install.revoked_by_provider")},
		{"media at a private address or behind a redirect", is(0, "media.ssrf_refused")},
		{"media download answers a login page", is(0, "media.not_media")},
		{"flood of bad signatures", is(429, "hook.flood")},
	}
}
