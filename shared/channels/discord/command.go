package discord

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/latchkey/latchkey/shared/channel"
)

// Types of options (interactions/application-commands, "Application Command Option
// Type", read 2026-11).
const (
	subCommand      = 1
	subCommandGroup = 2
	textOption      = 3
	userOption      = 6
	channelOption   = 7
	roleOption      = 8
	mentionable     = 9
	fileOption      = 11
)

// mainOption is the option that is the text whatever stands beside it.
const mainOption = "text"

// Bounds. Discord allows 25 options, and names of 32 characters for commands and
// options and 100 for roles and channels.
const (
	maxOptions = 25
	maxName    = 100
	maxMillis  = 1 << 40
)

// said reads what a command says into the envelope.
func said(env *channel.Envelope, data channel.Object) error {
	path, options := []string{data.Str("name")}, data.List("options")
	for len(options) == 1 && len(path) < 3 {
		o, _ := options[0].(channel.Object)
		if t := number(o, "type"); t != subCommand && t != subCommandGroup {
			break
		}
		path, options = append(path, o.Str("name")), o.List("options")
	}
	if len(options) > maxOptions || slices.ContainsFunc(path, func(name string) bool { return name == "" || shown(name) != name }) {
		return bad("the name of a command, or too many options")
	}
	env.Addressed = addressed(path)
	text, lines := "", []string{}
	if len(path) > 1 {
		lines = append(lines, "/"+strings.Join(path, " "))
	}
	main := mainOf(options)
	for k, one := range options {
		o, _ := one.(channel.Object)
		name, value := shown(o.Str("name")), value(env, o, data.Obj("resolved"))
		switch {
		case name == "":
			return bad("an option without a name")
		case k == main:
			text = strings.TrimSpace(value)
		case value != "":
			lines = append(lines, name+": "+value)
		}
	}
	if text != "" {
		at := min(len(path)-1, 1)
		lines = slices.Insert(lines, at, text)
	}
	if len(lines) == 0 && len(env.Media) == 0 {
		lines = []string{"/" + path[0]}
	}
	env.Text = strings.Join(lines, "\n")
	return nil
}

// addressed are the names by which bindings select a command.
func addressed(path []string) []string {
	var out []string
	for _, name := range []string{strings.Join(path, "-"), path[0]} {
		if name = strings.ToLower(name); channel.ValidAddressee(name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// mainOf is the index of the option that is the text, -1 for none.
func mainOf(options []any) int {
	first := -1
	for k, one := range options {
		o, _ := one.(channel.Object)
		if number(o, "type") != textOption {
			continue
		}
		if o.Str("name") == mainOption {
			return k
		}
		if first < 0 {
			first = k
		}
	}
	return first
}

// value is what an option says; a recording is attached and says nothing.
func value(env *channel.Envelope, o, resolved channel.Object) string {
	given := o.Str("value")
	of := func(kind string) channel.Object { return resolved.Obj(kind).Obj(given) }
	switch number(o, "type") {
	case textOption:
		return given
	case userOption:
		return person(of("users"))
	case channelOption:
		return named("#", of("channels").Str("name"))
	case roleOption:
		return named("@", of("roles").Str("name"))
	case mentionable:
		if role := of("roles"); role != nil {
			return named("@", role.Str("name"))
		}
		return person(of("users"))
	case fileOption:
		return file(env, of("attachments"))
	}
	switch v := o["value"].(type) {
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "yes"
		}
		return "no"
	}
	return ""
}

func person(user channel.Object) string {
	if name := user.Str("global_name"); name != "" {
		return named("@", name)
	}
	return named("@", user.Str("username"))
}

func named(mark, name string) string {
	if name = shown(name); name == "" {
		return ""
	}
	return mark + name
}

// shown is a name in one line of bounded length.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, name)
	if r := []rune(name); len(r) > maxName {
		name = string(r[:maxName])
	}
	return strings.TrimSpace(name)
}

// file attaches a recording by its address, which is signed and open for about a
// day; of any other file its name is said.
func file(env *channel.Envelope, a channel.Object) string {
	kind, _, _ := strings.Cut(a.Str("content_type"), ";")
	if !strings.HasPrefix(kind, "audio/") {
		return shown(a.Str("filename"))
	}
	one := channel.Attachment{ID: a.Str("url"), Kind: channel.AudioFile, MIME: kind, Name: a.Str("filename"), Size: number(a, "size")}
	if n, ok := a["duration_secs"].(json.Number); ok {
		one.Millis = min(millis(n), maxMillis)
	}
	if a.Str("waveform") != "" { // which only what was recorded in Discord has
		one.Kind = channel.VoiceNote
	}
	env.Attach(one)
	return ""
}
