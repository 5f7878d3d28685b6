package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

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
	Cells map[taxonomy.Channel]Cell
}

// Columns are the channels that the matrix is played for.
func Columns() []taxonomy.Channel {
	return []taxonomy.Channel{taxonomy.Slack, taxonomy.Telegram, taxonomy.WhatsApp, taxonomy.LINE}
}

// NotPlayed are the columns of the reference without a channel to install. They
// have no verdict, so nothing of theirs can be promoted.
func NotPlayed() []taxonomy.Profile {
	return []taxonomy.Profile{taxonomy.ProfileDiscord, taxonomy.ProfileTwilio, taxonomy.ProfileTeamsBot,
		taxonomy.ProfileGoogleChat, taxonomy.ProfileGitHub, taxonomy.ProfileStripe, taxonomy.ProfileStandardWebhooks, taxonomy.ProfileElevenLabs,
		taxonomy.ProfileHubSpot, taxonomy.ProfileZendesk, taxonomy.ProfileIntercom, taxonomy.ProfileShopify}
}

// Rows lists the matrix in its order. Where the contract of the HTTP surface says
// something else than the reference it was made from, it says what the contract
// says: an install that may not be shown to exist is 401.
func Rows() []Row {
	rows := append(append(atTheDoor(), inTheBody()...), behindTheQueue()...)
	for i := range rows {
		rows[i].N = i + 1
	}
	return rows
}

func row(title string, slack, telegram, whatsapp, line Cell) Row {
	return Row{Title: title, Cells: map[taxonomy.Channel]Cell{taxonomy.Slack: slack, taxonomy.Telegram: telegram, taxonomy.WhatsApp: whatsapp, taxonomy.LINE: line}}
}

func all(title string, c Cell) Row { return row(title, c, c, c, c) }

func is(status int, audit string) Cell { return Cell{Status: status, Audit: audit} }

func none(why string) Cell { return Cell{NotApplicable: why} }

// Why a row does not apply.
const (
	unsigned    = "the vendor proves the sender and does not sign the body"
	timeless    = "the vendor signs no time; repeats are told by their ids"
	keyless     = "the vendor publishes no keys and signs no token"
	addressed   = "an update names no bot: the identity is the install's address"
	noID        = "the vendor sends no id outside the body"
	signedCheck = "the handshake is signed: rows 6 to 9"
	noCheck     = "the vendor makes no such check of the URL"
	noURL       = "the vendor does not sign the URL"
	noApps      = "a bot belongs to one token; there is no app of several tenants"
	noConsent   = "a bot is connected by its token, without OAuth"
	untagged    = "the signature names no algorithm"
	noBots      = "the vendor does not say who is a bot; row 35 is what bounds it"
	likePeople  = "another company's bot looks like a person; row 35 is what bounds it"
	onePost     = "the vendor delivers a post as one event"
)

// atTheDoor are the rows until the signature is accepted.
func atTheDoor() []Row {
	mismatch := is(401, "hook.sig_mismatch")
	return []Row{
		all("unknown install in the path", is(401, "hook.install_unknown")),
		all("the path's provider is not the install's", is(401, "hook.provider_mismatch")),
		all("install suspended or revoked", is(401, "hook.install_inactive")),
		all("no secret, or an empty one, on the install", is(401, "hook.no_secret")),
		all("key service refuses or does not answer", is(503, "hook.secret_unavailable")),
		all("signature header missing", is(401, "hook.sig_missing")),
		all("signature malformed or cut short", is(401, "hook.sig_format")),
		row("body changed after signing", mismatch, none(unsigned), mismatch, mismatch),
		all("another secret, or another install's", mismatch),
		row("old timestamp", is(401, "hook.stale"), none(timeless), none(timeless), none(timeless)),
		row("future timestamp", is(401, "hook.future"), none(timeless), none(timeless), none(timeless)),
		all("signature or timestamp header twice", is(401, "hook.header_duplicate")),
		row("weaker algorithm or version named", is(401, "hook.alg_refused"), none("the vendor uses no algorithm"), is(401, "hook.alg_refused"), none(untagged)),
		all("unknown key id", none(keyless)),
		all("key set unreachable, none cached", none(keyless)),
		all("wrong audience or issuer", none(keyless)),
		all("right token of another identity", none(keyless)),
		all("service URL of another host", none(keyless)),
	}
}

// inTheBody are the rows of verified requests, handshakes and limits.
func inTheBody() []Row {
	refused, forbidden := is(401, "hook.handshake_refused"), is(403, "hook.handshake_refused")
	mismatch := is(401, "hook.sig_mismatch")
	unbound := is(200, "hook.unbound")
	return []Row{
		all("exact replay inside the window", is(200, "hook.duplicate")),
		row("replay with a changed unsigned header", is(200, "hook.duplicate"), none(noID), none(noID), none(noID)),
		row("valid signature, another tenant in the body", is(403, "hook.tenant_mismatch"), none(addressed), is(403, "hook.tenant_mismatch"), is(403, "hook.tenant_mismatch")),
		row("platform app, workspace not bound", unbound, none(noApps), unbound, none(noApps)),
		row("event of an organisation's app on a platform app's path", mismatch, is(401, "hook.install_unknown"), mismatch, is(401, "hook.install_unknown")),
		row("handshake without its proof", refused, none(noCheck), forbidden, refused),
		row("handshake with a wrong token", none(signedCheck), none(noCheck), forbidden, none(signedCheck)),
		all("request while the install is a draft", is(401, "hook.install_inactive")),
		all("wrong method", is(405, "hook.method")),
		all("body above the limit", is(413, "hook.too_large")),
		all("signed, but not JSON or not UTF-8", is(400, "hook.bad_payload")),
		all("signed, with a name twice or nested too deep", is(400, "hook.bad_payload")),
		all("Host and forwarding headers forged", is(200, "hook.accepted")),
		all("URL differs from the configured one", none(noURL)),
	}
}

// behindTheQueue are the rows of settings, of dispatch and of turns.
func behindTheQueue() []Row {
	return []Row{
		all("the bot's own message", is(200, "turn.self_ignored")),
		row("another bot's message", is(200, "turn.bot_ignored"), is(200, "turn.bot_ignored"), none(likePeople), none(noBots)),
		all("loop of bots above its budget", is(200, "turn.loop_suppressed")),
		row("one post delivered as two events", is(200, "hook.duplicate_content"), none(onePost), none(onePost), none(onePost)),
		all("two agents bound to one selector", is(409, "binding.ambiguous")),
		all("one token in two installs", is(409, "install.token_in_use")),
		all("queue does not take the event", is(503, "hook.enqueue_failed")),
		all("dedupe store throttled", is(503, "hook.dedupe_unavailable")),
		all("worker dies after asking the model", is(0, "turn.retry")),
		all("connection lost while a reply is sent", is(0, "reply.unknown")),
		all("reply for another tenant", is(0, "reply.tenant_guard")),
		all("vendor rejects the token, three times", is(0, "install.token_rejected")),
		all("secret used after its rotation ended", is(401, "hook.sig_mismatch")),
		row("OAuth state missing, used or another organisation's", is(400, "oauth.state_refused"), none(noConsent), is(400, "oauth.state_refused"), none(noConsent)),
		all("app removed or token revoked at the vendor", is(200, "install.revoked_by_provider")),
		all("media at a private address or behind a redirect", is(0, "media.ssrf_refused")),
		all("media download answers a login page", is(0, "media.not_media")),
		all("flood of bad signatures", is(429, "hook.flood")),
	}
}
