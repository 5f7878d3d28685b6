package lkcli

import (
	"fmt"
	"slices"
	"strings"
)

const intro = `lk talks to a Latchkey deployment and checks recorded traffic offline.

Usage: lk COMMAND [ARGUMENTS] [FLAGS]      lk help COMMAND
`

const globalHelp = `
Flags of every command:
  --url URL   the deployment, else LATCHKEY_URL (./scripts/dev: http://127.0.0.1:8787)
  --key KEY   an API key, else LATCHKEY_KEY; - reads standard input, @FILE a file
  --org ORG   the organisation; default: the one inside the key (lk_<org>_...).
              An operator key belongs to none and needs it
  --json      print the API's JSON; lists as {"items":[...]} with all pages;
              an error as {"error":{...}}

Secrets given as arguments end up in the shell's history and in the process
list. Give --key, --api-key, --value and --secret as - (standard input) or @FILE.

Exit codes: 0 done, 1 refused or failed, 2 wrong call.
`

// help prints help for the tool, a noun or a command.
func (r *run) help(given []string) error {
	given = slices.DeleteFunc(slices.Clone(given), func(w string) bool { return strings.HasPrefix(w, "-") })
	switch {
	case len(given) == 0:
		r.out.WriteString(intro)
		r.overview(func(command) bool { return true })
		r.out.WriteString(globalHelp)
		return nil
	case len(given) == 1 && isNoun(given[0]) && !isLeaf(given[0]):
		r.out.WriteString("Usage: lk " + given[0] + " " + strings.Join(verbs(given[0]), "|") + "\n")
		r.overview(func(c command) bool { return strings.HasPrefix(c.name, given[0]+" ") })
		r.out.WriteString("\nlk help " + given[0] + " VERB shows flags and examples.\n")
		return nil
	}
	c, err := exact(strings.Join(given[:min(2, len(given))], " "))
	if err != nil {
		return err
	}
	r.commandHelp(c)
	return nil
}

// overview lists commands with their first words aligned.
func (r *run) overview(show func(command) bool) {
	w := aligned(&r.out)
	last := ""
	for _, c := range commands() {
		if !show(c) {
			continue
		}
		noun, _, _ := strings.Cut(c.name, " ")
		if noun != last && (last == "" || len(verbs(noun))+len(verbs(last)) > 0) {
			fmt.Fprintln(w)
		}
		last = noun
		row(w, []string{"  " + c.name, c.about})
	}
	_ = w.Flush()
}

// synopsis is the command with its arguments and required flags.
func (c *command) synopsis() string {
	parts := []string{c.name}
	for _, a := range c.args {
		if name := strings.ToUpper(a.name); a.optional {
			parts = append(parts, "["+name+"]")
		} else {
			parts = append(parts, name)
		}
	}
	more := ""
	for _, o := range c.flags {
		if o.required {
			parts = append(parts, "--"+o.name+" "+o.kind.shape())
		} else {
			more = " [FLAGS]"
		}
	}
	return strings.Join(parts, " ") + more
}

// shape is what a flag's value looks like.
func (k kind) shape() string {
	switch k {
	case integer:
		return "N"
	case amount:
		return "AMOUNT"
	case boolean:
		return ""
	case words:
		return "A,B"
	case pairs:
		return "NAME=VALUE"
	case secrets:
		return "NAME=-|NAME=@FILE"
	case hidden:
		return "-|@FILE"
	case anyJSON:
		return "JSON"
	}
	return "TEXT"
}

func (r *run) commandHelp(c *command) {
	fmt.Fprintf(&r.out, "lk %s: %s\n\nUsage: lk %s\n", c.name, c.about, c.synopsis())
	if len(c.args)+len(c.flags) > 0 {
		r.out.WriteString("\n")
	}
	w := aligned(&r.out)
	for _, a := range c.args {
		row(w, []string{"  " + strings.ToUpper(a.name), a.about})
	}
	for _, o := range c.flags {
		about := o.about
		if o.required {
			about = strings.TrimPrefix(about+"; required", "; ")
		}
		row(w, []string{strings.TrimRight("  --"+o.name+" "+o.kind.shape(), " "), about})
	}
	_ = w.Flush()
	if c.local == nil {
		fmt.Fprintf(&r.out, "\nCalls %s %s\n", c.method, c.path)
	}
	if len(c.examples) > 0 {
		r.out.WriteString("\nExamples:\n")
		for _, e := range c.examples {
			r.out.WriteString("  " + e + "\n")
		}
	}
	r.out.WriteString(globalHelp)
}
