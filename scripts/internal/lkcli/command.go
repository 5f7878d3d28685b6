package lkcli

import (
	"context"
	"slices"
	"strings"
)

// kind is how a flag's text becomes JSON.
type kind int

const (
	text     kind = iota
	document      // text, or - for standard input, or @FILE
	hidden        // a secret: like document, never shown
	integer
	amount  // micro-credits, or credits with the suffix cr
	boolean // --x or --x=false
	words   // separated by commas, or repeated
	pairs   // NAME=VALUE, repeated; a name given twice becomes a list
	secrets // NAME=VALUE with a value like hidden, repeated
	anyJSON // a JSON document, or - or @FILE
)

func (k kind) repeats() bool { return k == words || k == pairs || k == secrets }

// option is one flag. Exactly one of field (a path into the body), query and
// header says where it goes; flags of local commands have none.
type option struct {
	name, about          string
	kind                 kind
	required             bool
	field, query, header string
}

// arg is one positional argument. It fills {name} in the path, a query parameter
// if it names one, or the whole body if it is a file.
type arg struct {
	name, about string
	query       string
	optional    bool
	file        bool
}

// command is one command. With local it is code, otherwise it is one operation
// of the admin API.
type command struct {
	name     string // "install rotate"
	aliases  []string
	about    string
	examples []string
	args     []arg
	flags    []option

	method, path string
	// list answers have items; paged ones are followed to their end. field
	// names the items inside of an answer that is no list.
	list, paged bool
	field       string
	columns     []string
	// sets are fields of the body that the command's name says.
	sets map[string]string
	// wrap makes a body file that is an array into an object with this field.
	wrap string
	// documents are fields that people copy, shown as JSON.
	documents []string
	// notice is told to people after success.
	notice string
	// truth is a field that must be true, else the exit code is 1.
	truth string
	// health says that the answer is the result of a probe: a failed one is
	// explained, and the exit code is 1.
	health bool
	// keyless commands need no API key.
	keyless bool
	local   func(context.Context, *invocation) error
}

// opt makes a flag named after the last part of its body field.
func opt(k kind, field, about string) option {
	name := strings.ReplaceAll(field[strings.LastIndexByte(field, '.')+1:], "_", "-")
	return option{name: name, about: about, kind: k, field: field}
}

// inQuery makes a flag that becomes a query parameter.
func inQuery(name, about string) option {
	return option{name: strings.ReplaceAll(name, "_", "-"), about: about, query: name}
}

// plain makes a flag of a local command.
func plain(k kind, name, about string) option { return option{name: name, about: about, kind: k} }

func (o option) must() option {
	o.required = true
	return o
}

func (o option) as(name string) option {
	o.name = name
	return o
}

// commands lists every command by name.
func commands() []command {
	out := slices.Concat(orgCommands(), keyCommands(), connectionCommands(), routeCommands(), agentCommands(), toolCommands(), widgetCommands(), installCommands(), appCommands(), bindingCommands(),
		sessionCommands(), creditCommands(), legacyTokenCommands(), sharingCommands(), integrationCommands(), operatorCommands(), rotationCommands(), rolloutCommands(), modelCommands(), localCommands())
	for i := range out {
		if out[i].paged {
			out[i].flags = append(out[i].flags, plain(integer, "limit", "at most this many; without it all"))
		}
	}
	return out
}

// exact finds a command by its whole name or an alias.
func exact(name string) (*command, error) {
	all := commands()
	for i := range all {
		if all[i].name == name || slices.Contains(all[i].aliases, name) {
			return &all[i], nil
		}
	}
	return nil, unknownCommand(name)
}

// find takes the longer of two possible names.
func find(given []string) (*command, error) {
	if len(given) == 1 && !isLeaf(given[0]) && isNoun(given[0]) {
		return nil, &usageError{text: "say what to do: lk " + given[0] + " " + strings.Join(verbs(given[0]), "|"), about: given[0]}
	}
	return exact(strings.Join(given, " "))
}

func isLeaf(name string) bool {
	_, err := exact(name)
	return err == nil
}

// names lists names and aliases.
func names() []string {
	var out []string
	for _, c := range commands() {
		out = append(append(out, c.name), c.aliases...)
	}
	return out
}

func isNoun(word string) bool {
	return slices.ContainsFunc(names(), func(n string) bool { return n == word || strings.HasPrefix(n, word+" ") })
}

func isVerb(noun, verb string) bool { return slices.Contains(names(), noun+" "+verb) }

// verbs lists what can be done with a noun.
func verbs(noun string) []string {
	var out []string
	for _, c := range commands() {
		if v, ok := strings.CutPrefix(c.name, noun+" "); ok {
			out = append(out, v)
		}
	}
	return out
}

func nouns() []string {
	var out []string
	for _, n := range names() {
		n, _, _ = strings.Cut(n, " ")
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func unknownCommand(name string) error {
	noun, verb, two := strings.Cut(name, " ")
	if isNoun(noun) && two {
		e := &usageError{text: "there is no command lk " + noun + " " + printable(verb), about: noun}
		if near := nearest(verb, verbs(noun)); near != "" {
			e.text += "; did you mean lk " + noun + " " + near + "?"
		} else {
			e.text += "; it has " + strings.Join(verbs(noun), ", ")
		}
		return e
	}
	if near := nearest(noun, append(nouns(), "help")); near != "" {
		return wrongCall("there is no command lk %s; did you mean lk %s?", printable(noun), near)
	}
	return wrongCall("there is no command lk %s", printable(noun))
}
