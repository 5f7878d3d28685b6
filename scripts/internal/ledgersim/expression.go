package ledgersim

import (
	"fmt"
	"strings"
)

// scope is what an expression speaks of.
type scope struct {
	it     item
	names  map[string]string
	values map[string]value
}

func (s scope) name(alias string) string { return s.names[alias] }

// The parsed forms. A condition tells whether it holds; an operand gives a value
// and whether there is one; an action changes the item into another one.
type (
	condition func(scope) bool
	operand   func(scope) (value, bool)
	action    func(s scope, into item) error
)

// parser reads the expressions that shared/dynamo sends: what it does not know
// it refuses, it never guesses.
type parser struct {
	tokens []string
	at     int
	err    error
}

func newParser(text string) *parser {
	p := &parser{}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ':
			i++
		case strings.IndexByte("(),+-=", c) >= 0:
			p.tokens = append(p.tokens, text[i:i+1])
			i++
		case c == '<' || c == '>':
			n := 1
			if i+1 < len(text) && (text[i+1] == '=' || text[i+1] == '>') {
				n = 2
			}
			p.tokens = append(p.tokens, text[i:i+n])
			i += n
		default:
			j := i
			for j < len(text) && strings.IndexByte(" (),+-=<>", text[j]) < 0 {
				j++
			}
			p.tokens = append(p.tokens, text[i:j])
			i = j
		}
	}
	return p
}

func (p *parser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *parser) take() string {
	t := p.peek()
	p.at++
	return t
}

func (p *parser) accept(t string) bool {
	if p.peek() == t {
		p.at++
		return true
	}
	return false
}

func (p *parser) want(t string) {
	if !p.accept(t) {
		p.fail("wanted " + t)
	}
}

func (p *parser) fail(why string) {
	if p.err == nil {
		p.err = fmt.Errorf("ledgersim: expression not known: %s at %q of %q", why, p.peek(), p.tokens)
	}
}

func (p *parser) or() condition {
	a := p.and()
	for p.accept("OR") {
		l, r := a, p.and()
		a = func(s scope) bool { return l(s) || r(s) }
	}
	return a
}

func (p *parser) and() condition {
	a := p.not()
	for p.accept("AND") {
		l, r := a, p.not()
		a = func(s scope) bool { return l(s) && r(s) }
	}
	return a
}

func (p *parser) not() condition {
	if p.accept("NOT") {
		c := p.not()
		return func(s scope) bool { return !c(s) }
	}
	return p.test()
}

func (p *parser) test() condition {
	switch t := p.peek(); t {
	case "(":
		p.take()
		c := p.or()
		p.want(")")
		return c
	case "attribute_exists", "attribute_not_exists":
		p.take()
		p.want("(")
		name := p.take()
		p.want(")")
		return func(s scope) bool {
			_, there := s.it[s.name(name)]
			return there == (t == "attribute_exists")
		}
	}
	left := p.term()
	switch op := p.take(); op {
	case "IN":
		p.want("(")
		list := []operand{p.term()}
		for p.accept(",") {
			list = append(list, p.term())
		}
		p.want(")")
		return func(s scope) bool {
			l, ok := left(s)
			for _, r := range list {
				if v, there := r(s); ok && there && l.equal(v) {
					return true
				}
			}
			return false
		}
	case "=", "<>", "<", "<=", ">", ">=":
		right := p.term()
		return func(s scope) bool { return compared(op, left, right, s) }
	}
	p.at--
	p.fail("no comparison")
	return func(scope) bool { return false }
}

func compared(op string, left, right operand, s scope) bool {
	l, a := left(s)
	r, b := right(s)
	if !a || !b {
		return op == "<>"
	}
	if op == "=" || op == "<>" {
		return l.equal(r) == (op == "=")
	}
	c, ok := l.compare(r)
	switch {
	case !ok:
		return false
	case op == "<":
		return c < 0
	case op == "<=":
		return c <= 0
	case op == ">":
		return c > 0
	}
	return c >= 0
}

// term is a name, a value or if_not_exists.
func (p *parser) term() operand {
	switch t := p.take(); {
	case strings.HasPrefix(t, "#"):
		return func(s scope) (value, bool) { v, ok := s.it[s.name(t)]; return v, ok }
	case strings.HasPrefix(t, ":"):
		return func(s scope) (value, bool) { v, ok := s.values[t]; return v, ok }
	case t == "if_not_exists":
		p.want("(")
		name := p.take()
		p.want(",")
		other := p.term()
		p.want(")")
		return func(s scope) (value, bool) {
			if v, ok := s.it[s.name(name)]; ok {
				return v, true
			}
			return other(s)
		}
	}
	p.at--
	p.fail("no operand")
	return func(scope) (value, bool) { return value{}, false }
}

// sum is a term, or two of them added or subtracted.
func (p *parser) sum() operand {
	a := p.term()
	sign := int64(1)
	switch {
	case p.accept("+"):
	case p.accept("-"):
		sign = -1
	default:
		return a
	}
	b := p.term()
	return func(s scope) (value, bool) {
		l, okL := a(s)
		r, okR := b(s)
		if !okL || !okR || l.kind != 'N' || r.kind != 'N' {
			return value{}, false
		}
		return number(l.n + sign*r.n), true
	}
}

// update reads SET and REMOVE.
func (p *parser) update() action {
	var actions []action
	section := ""
	for p.at < len(p.tokens) && p.err == nil {
		switch t := p.peek(); t {
		case "SET", "REMOVE":
			section = p.take()
		case ",":
			p.take()
		default:
			name := p.take()
			switch section {
			case "SET":
				p.want("=")
				v := p.sum()
				actions = append(actions, func(s scope, into item) error {
					x, ok := v(s)
					if !ok || s.name(name) == "" {
						return fmt.Errorf("ledgersim: nothing to set %s (%s) to", name, s.name(name))
					}
					into[s.name(name)] = x
					return nil
				})
			case "REMOVE":
				actions = append(actions, func(s scope, into item) error { delete(into, s.name(name)); return nil })
			default:
				p.fail("no SET or REMOVE")
			}
		}
	}
	return func(s scope, into item) error {
		for _, a := range actions {
			if err := a(s, into); err != nil {
				return err
			}
		}
		return nil
	}
}

// expressions keeps what was parsed.
type expressions struct {
	conditions map[string]condition
	updates    map[string]action
}

func (e *expressions) condition(text string) (condition, error) {
	if text == "" {
		return func(scope) bool { return true }, nil
	}
	if c := e.conditions[text]; c != nil {
		return c, nil
	}
	p := newParser(text)
	c := p.or()
	if p.at != len(p.tokens) {
		p.fail("more than a condition")
	}
	if p.err == nil {
		e.conditions[text] = c
	}
	return c, p.err
}

func (e *expressions) update(text string) (action, error) {
	if a := e.updates[text]; a != nil {
		return a, nil
	}
	p := newParser(text)
	a := p.update()
	if p.err == nil {
		e.updates[text] = a
	}
	return a, p.err
}
