package channel

// Button is one choice under a message.
type Button struct {
	Label string
	// Ref comes back with a press, at most [MaxRef] bytes of printable ASCII. It is
	// shown to whoever looks into the vendor's client.
	Ref string
}

// MaxRef bounds a button's reference: what every vendor carries
// (core.telegram.org/bots/api#inlinekeyboardbutton, read 2026-11: 64 bytes).
const MaxRef = 64

// Chooser is an adapter whose vendor shows [Outgoing].Buttons and tells of presses, as
// [Pressed] events.
type Chooser interface {
	// Person is how a message of this adapter names somebody by the vendor's id.
	Person(id string) string
}
