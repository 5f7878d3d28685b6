package lkcli

import (
	"errors"
	"flag"
	"io"
	"strings"
)

// globals are the flags of every command.
type globals struct {
	url, key, org string
	json          bool
}

func (g *globals) register(fs *flag.FlagSet) {
	fs.StringVar(&g.url, "url", g.url, "")
	fs.StringVar(&g.key, "key", g.key, "")
	fs.StringVar(&g.org, "org", g.org, "")
	fs.BoolVar(&g.json, "json", g.json, "")
}

func globalNames() []string { return []string{"url", "key", "org", "json", "help"} }

func flagSet() *flag.FlagSet {
	fs := flag.NewFlagSet("lk", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

// leading takes the command's words, with the global flags before and between
// them, off the arguments.
func (g *globals) leading(args []string) (words, rest []string, err error) {
	for {
		fs := flagSet()
		g.register(fs)
		if err := fs.Parse(args); err != nil {
			return words, nil, badFlag(err, globalNames())
		}
		rest = fs.Args()
		if len(rest) == 0 {
			return words, nil, nil
		}
		words, args = append(words, rest[0]), rest[1:]
		if len(words) == 2 || words[0] == "help" || !isNoun(words[0]) {
			return words, args, nil
		}
		// A command of one word may be followed by its own arguments.
		if _, err := exact(words[0]); err == nil && !(len(args) > 0 && isVerb(words[0], args[0])) {
			return words, args, nil
		}
	}
}

const notDefined = "flag provided but not defined: -"

// badFlag words the flag package's errors for people. Its text about a bad value
// would repeat the value, so that one is replaced.
func badFlag(err error, known []string) error {
	text := err.Error()
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if name, ok := strings.CutPrefix(text, notDefined); ok {
		if near := nearest(name, known); near != "" {
			return wrongCall("there is no flag --%s here; did you mean --%s?", printable(name), near)
		}
		return wrongCall("there is no flag --%s here", printable(name))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return wrongCall("--%s needs a value", name)
	}
	return wrongCall("a flag has a value of the wrong form")
}

// value collects what a flag was given. It never fails, because the flag
// package would repeat the value in its error.
type value struct {
	option *option
	given  []string
}

// String implements [flag.Value].
func (v *value) String() string { return "" }

// Set implements [flag.Value].
func (v *value) Set(s string) error {
	v.given = append(v.given, s)
	return nil
}

// IsBoolFlag tells the flag package that no value need follow.
func (v *value) IsBoolFlag() bool { return v.option != nil && v.option.kind == boolean }

// invocation is one parsed call of a command.
type invocation struct {
	*run
	globals
	cmd   *command
	args  map[string]string
	flags map[string]*value // the given ones, by name
}

// parse reads a command's own arguments. Flags and positional arguments may be
// mixed; after -- all are positional.
func parse(c *command, g *globals, args []string) (*invocation, error) {
	fs := flagSet()
	g.register(fs)
	all := map[string]*value{}
	names := globalNames()
	for i := range c.flags {
		v := &value{option: &c.flags[i]}
		all[v.option.name] = v
		fs.Var(v, v.option.name, "")
		names = append(names, v.option.name)
	}
	var words []string
	for len(args) > 0 {
		if err := fs.Parse(args); err != nil {
			return nil, badFlag(err, names)
		}
		rest := fs.Args()
		if used := len(args) - len(rest); used > 0 && args[used-1] == "--" {
			words = append(words, rest...)
			break
		}
		if len(rest) == 0 {
			break
		}
		words, args = append(words, rest[0]), rest[1:]
	}
	in := &invocation{globals: *g, cmd: c, args: map[string]string{}, flags: map[string]*value{}}
	for name, v := range all {
		if len(v.given) > 0 {
			in.flags[name] = v
		}
	}
	return in, in.check(words)
}

// check assigns the positional arguments and looks for what is missing.
func (in *invocation) check(words []string) error {
	c := in.cmd
	if len(words) > len(c.args) {
		return wrongCall("too many arguments; write: lk %s", c.synopsis())
	}
	for i, a := range c.args {
		if i < len(words) {
			in.args[a.name] = words[i]
		} else if !a.optional {
			return wrongCall("%s is missing; write: lk %s", strings.ToUpper(a.name), c.synopsis())
		}
	}
	for i := range c.flags {
		o := &c.flags[i]
		v, given := in.flags[o.name]
		switch {
		case o.required && !given:
			return wrongCall("--%s is required; write: lk %s", o.name, c.synopsis())
		case given && len(v.given) > 1 && !o.kind.repeats():
			return wrongCall("--%s is given twice", o.name)
		}
	}
	return nil
}

// text is a given flag's text, empty if it was not given.
func (in *invocation) text(name string) string {
	if v, ok := in.flags[name]; ok {
		return v.given[0]
	}
	return ""
}

func (in *invocation) has(name string) bool { return in.flags[name] != nil }
