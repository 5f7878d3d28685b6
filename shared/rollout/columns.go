package rollout

import (
	"maps"
	"slices"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// cells are what a channel has to do in some rows, by their number.
type cells map[int]Cell

// column is a channel of the matrix: the rows in which it has to do something else
// than what the row says, or has no such case.
type column struct {
	channel taxonomy.Channel
	// profile is how its vendor signs, if that has another name than the channel.
	profile taxonomy.Profile
	differs cells
	// vendor is who it is played for, where several vendors serve the channel. The column
	// of the first has the channel's name, which again says of no other: theirs have the
	// vendor's.
	vendor taxonomy.Channel
	again  bool
}

// id is the column's name in the matrix.
func (c column) id() taxonomy.Channel {
	if c.again {
		return c.vendor
	}
	return c.channel
}

// columns are the channels that the matrix is played for: a file and a line for each.
func columns() []column {
	return []column{
		slackColumn(),
		telegramColumn(),
		twilioColumn(),
		whatsappColumn(),
		lineColumn(),
		discordColumn(),
		messengerColumn(),
		instagramColumn(),
		googleChatColumn(),
		teamsColumn(),
		emailColumn(),
		postmarkColumn(),
		webColumn(),
	}
}

// together joins cells; of two for a row the later counts.
func together(sets ...cells) cells {
	out := cells{}
	for _, s := range sets {
		maps.Copy(out, s)
	}
	return out
}

// absent says of rows that the channel has no such case, and why.
func absent(why string, rows ...int) cells {
	out := cells{}
	for _, n := range rows {
		out[n] = none(why)
	}
	return out
}

// Why a row does not apply to a channel, where several channels say so.
const (
	timeless    = "the vendor signs no time; repeats are told by their ids"
	keyless     = "the vendor publishes no keys and signs no token"
	noID        = "the vendor sends no id outside the body"
	signedCheck = "the handshake is signed: rows 6 to 9"
	noURL       = "the vendor does not sign the URL"
	noApps      = "no app of the platform serves several tenants of it here; row 23: its path is nobody's"
	onePost     = "the vendor delivers a post as one event"
)

// sharedSecret is a vendor that proves itself by a secret that it shares with the
// install, and signs no URL.
func sharedSecret() cells {
	return together(absent(keyless, 14, 15, 16, 17, 18), absent(noURL, 32))
}

// noTime is a vendor that signs no time.
func noTime() cells { return absent(timeless, 10, 11) }

// ownAppsOnly is a vendor whose apps have one tenant each: the path of an app of the
// platform is nobody's.
func ownAppsOnly() cells {
	return together(absent(noApps, 22), cells{23: is(401, "hook.install_unknown")})
}

// Columns are the names of the columns that the matrix is played for: of each channel,
// and of each further vendor that serves one.
func Columns() []taxonomy.Channel {
	var out []taxonomy.Channel
	for _, c := range columns() {
		out = append(out, c.id())
	}
	return out
}

// ChannelOf is the channel of a column, empty for what is none.
func ChannelOf(id taxonomy.Channel) taxonomy.Channel {
	for _, c := range columns() {
		if c.id() == id {
			return c.channel
		}
	}
	return ""
}

// VendorOf is the vendor that a column is played for, empty where one alone serves the
// channel.
func VendorOf(id taxonomy.Channel) taxonomy.Channel {
	for _, c := range columns() {
		if c.id() == id {
			return c.vendor
		}
	}
	return ""
}

// withoutChannel are the columns of the reference that had no channel when the first
// matrix was played, in its order.
func withoutChannel() []taxonomy.Profile {
	return []taxonomy.Profile{taxonomy.ProfileDiscord, taxonomy.ProfileTwilio, taxonomy.ProfileTeamsBot,
		taxonomy.ProfileGoogleChat, taxonomy.ProfileGitHub, taxonomy.ProfileStripe, taxonomy.ProfileStandardWebhooks, taxonomy.ProfileElevenLabs,
		taxonomy.ProfileHubSpot, taxonomy.ProfileZendesk, taxonomy.ProfileIntercom, taxonomy.ProfileShopify}
}

// NotPlayed are the columns of the reference without a channel to install. They
// have no verdict, so nothing of theirs can be promoted.
func NotPlayed() []taxonomy.Profile {
	return slices.DeleteFunc(withoutChannel(), func(p taxonomy.Profile) bool {
		return slices.ContainsFunc(columns(), func(c column) bool { return c.profile == p || taxonomy.Profile(c.channel) == p })
	})
}
