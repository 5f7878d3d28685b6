package markdown

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode"
)

// shown writes runs readably: styles as letters, links behind an arrow.
func shown(runs []Run) string {
	var b strings.Builder
	for _, r := range runs {
		style := ""
		for i, s := range []Style{Bold, Italic, Strike, Code, Pre, Quote} {
			if r.Style&s != 0 {
				style += "bisCPQ"[i : i+1]
			}
		}
		if r.Lang != "" {
			style += ":" + r.Lang
		}
		if r.Link != "" {
			style += "→" + r.Link
		}
		if style == "" {
			b.WriteString(r.Text)
			continue
		}
		fmt.Fprintf(&b, "{%s|%s}", style, r.Text)
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"styles":            {"a **b** *c* ~~d~~ `e` ***f***", "a {b|b} {i|c} {s|d} {C|e} {bi|f}"},
		"nested":            {"**a *b* c**", "{b|a }{bi|b}{b| c}"},
		"heading":           {"# One\ntext\n\n## Two", "{b|One}\n\ntext\n\n{b|Two}"},
		"lines":             {"one\ntwo  \nthree", "one\ntwo\nthree"},
		"list":              {"- a\n- b\n  - c\n  - d\n- e\n\nend", "• a\n• b\n    • c\n    • d\n• e\n\nend"},
		"numbers":           {"3. a\n4. b", "3. a\n4. b"},
		"loose list":        {"1. a\n\n   more\n\n2. b", "1. a\n\nmore\n\n2. b"},
		"tasks":             {"- [ ] a\n- [x] b", "• ☐ a\n• ☑ b"},
		"code":              {"x\n\n```go\nif a {\n\tb()\n}\n```\ny", "x\n\n{P:go|if a {\n    b()\n}}\n\ny"},
		"code unclosed":     {"```\nx", "{P|x}"},
		"code in a list":    {"- a\n  ```\n  b\n  ```\n- c", "• a\n{P|b}\n• c"},
		"code first in it":  {"- ```\n  b\n  ```", "• \n{P|b}"},
		"indented code":     {"    a\n    b", "{P|a\nb}"},
		"quote":             {"> a\n> **b**\n\nc", "{Q|a\n}{bQ|b}\n\nc"},
		"rule":              {"a\n\n---\n\nb", "a\n\n———\n\nb"},
		"link":              {"see [the **docs**](https://x.example/a?b=1&c) now", "see {→https://x.example/a?b=1&c|the docs} now"},
		"bare link":         {"see https://x.example/a_b_c.", "see {→https://x.example/a_b_c|https://x.example/a_b_c}."},
		"autolink":          {"<https://x.example>", "{→https://x.example|https://x.example}"},
		"mail":              {"<a@x.example> [b](mailto:b@x.example)", "a@x.example b (mailto:b@x.example)"},
		"script":            {"[x](javascript:alert(1)) [y](tg://user?id=1)", "x (javascript:alert(1)) y (tg://user?id=1)"},
		"relative":          {"[x](./readme)", "x (./readme)"},
		"misleading":        {"[https://bank.example](https://evil.example/x)", "{→https://evil.example/x|https://bank.example} (evil.example/x)"},
		"same host":         {"[www.x.example](https://x.example/x)", "{→https://x.example/x|www.x.example}"},
		"picture":           {"![a cat](https://x.example/c.png)", "{→https://x.example/c.png|a cat}"},
		"picture, nameless": {"![](https://x.example/c.png)", "{→https://x.example/c.png|https://x.example/c.png}"},
		"control in link":   {"[x](<https://x.example/|a>)", "{→https://x.example/%7Ca|x}"},
		"html":              {"a <b>c</b> <script>x</script>", "a <b>c</b> <script>x</script>"},
		"html block":        {"<div>\n<!channel>\n</div>\n\nx", "<div>\n<!channel>\n</div>\n\nx"},
		"line break tag":    {"a<br>b<br/>c", "a\nb\nc"},
		"mentions":          {"<!channel> <@U123> <!subteam^S1> <#C1>", "<!channel> <@U123> <!subteam^S1> <#C1>"},
		"escapes":           {`\*a\* &amp; &lt;b&gt; \&amp; &#35; &nosuch;`, "*a* & <b> &amp; # &nosuch;"},
		"code is raw":       {"`a &amp; \\* b`", `{C|a &amp; \* b}`},
		"control":           {"a\x00b\x1b[31m\r\nc\u2028d", "ab[31m\nc\nd"},
		"invalid utf-8":     {"a\xffb", "a\uFFFDb"},
		"table": {"| a | num |\n|---|---:|\n| x **y** | 1 |\n| 日本 | 22 |",
			"{P|a    | num\n-----|----\nx y  |   1\n日本 |  22}"},
		"table with links": {"| a |\n|---|\n| [d](https://x.example) `c` |", "{P|a\n" + strings.Repeat("-", 23) + "\nd (https://x.example) c}"},
		"empty":            {" \n\n", ""},
		"empty item":       {"- \n- a", "• \n• a"},
		"rule in item":     {"- - a", "• \n    • a"},
	} {
		if got := shown(Parse(c.source, Options{Bullet: "• "})); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
	if got := shown(Parse("[docs](https://x.example/a) [x.example/a](https://x.example/a)", Options{PlainLinks: true})); got !=
		"docs ({→https://x.example/a|https://x.example/a}) {→https://x.example/a|https://x.example/a}" {
		t.Error(got)
	}
}

func slackLike() Marks {
	return Marks{Bold: "*", Italic: "_", Strike: "~", Code: "`", Fence: "```", InWords: true,
		Escape: func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(s, "&", "&amp;"), "<", "&lt;"), ">", "&gt;")
		},
		Link: func(a, l string) string { return "<" + a + "|" + l + ">" }}
}

func plainMarks() Marks { return Marks{Bold: "*", Italic: "_", Strike: "~", Code: "`", Fence: "```"} }

// TestMarks: what is written, with the guard as ·.
func TestMarks(t *testing.T) {
	for name, c := range map[string]struct{ source, slack, plain string }{
		"styles":        {"**a** *b* ~~c~~ `d` ***e***", "*a* _b_ ~c~ `d` *_e_*", "*a* _b_ ~c~ `d` *_e_*"},
		"nested":        {"**a *b* c**", "*a _b_ c*", "*a _b_ c*"},
		"in a word":     {"foo**bar**baz", "foo·*bar*·baz", "foobarbaz"},
		"word's end":    {"un**do**, **re**do", "un·*do*, *re*·do", "undo, redo"},
		"chinese":       {"这是**重点**内容", "这是·*重点*·内容", "这是重点内容"},
		"punctuation":   {"(**a**), “*b*”!", "(*a*), “_b_”!", "(*a*), “_b_”!"},
		"lines":         {"**a\nb**", "*a*\n*b*", "*a*\n*b*"},
		"neighbours":    {"**a***b*", "*a*·_b_", "ab"},
		"literal":       {`\*a\* 2 * 3 snake_case_x \_b\_`, "*·a* 2 * 3 snake_case_x _·b_", "*·a* 2 * 3 snake_case_x _·b_"},
		"lone star":     {`\*a`, "*a", "*a"},
		"star in bold":  {`**\*a**`, "**·a*", "**·a*"},
		"ticks":         {"`` a`b `` c`", "a`b c`", "a`b c`"},
		"fence in text": {"a \\`\\`\\` b", "a `·`·` b", "a `·`·` b"},
		"fence in code": {"````\n```\n````", "```\n`·`·`\n```", "```\n`·`·`\n```"},
		"quote":         {"> a\n> b", "> a\n> b", "> a\n> b"},
		"mention":       {"<!channel> <@U1> **<!here>**", "&lt;!channel&gt; &lt;@U1&gt; *&lt;!here&gt;*", "<!channel> <@U1> *<!here>*"},
		"link":          {"**[a<b](https://x.example/?a&b)**", "*<https://x.example/?a&b|a&lt;b>*", "*a<b*"},
		"code in text":  {"a`b`c", "a·`b`·c", "a·`b`·c"},
		"code escaped":  {"`<@U1>`", "`&lt;@U1&gt;`", "`<@U1>`"},
	} {
		runs := Parse(c.source, Options{Bullet: "• "})
		if got := strings.ReplaceAll(slackLike().Write(runs), guard, "·"); got != c.slack {
			t.Errorf("%s: %q, want %q", name, got, c.slack)
		}
		if got := strings.ReplaceAll(plainMarks().Write(runs), guard, "·"); got != c.plain {
			t.Errorf("%s, plain: %q, want %q", name, got, c.plain)
		}
	}
}

func TestSplit(t *testing.T) {
	size := func(r []Run) int { return Units(plainMarks().Write(r)) }
	pieces := func(source string, limit int) []string {
		var out []string
		for _, p := range Split(Parse(source, Options{Bullet: "- "}), limit, size) {
			out = append(out, plainMarks().Write(p))
		}
		return out
	}
	for name, c := range map[string]struct {
		source string
		limit  int
		want   []string
	}{
		"whole":           {"a b", 3, []string{"a b"}},
		"paragraph":       {"aaaa bb\n\ncc dd", 12, []string{"aaaa bb", "cc dd"}},
		"line":            {"aaaa bb\ncc dd", 11, []string{"aaaa bb", "cc dd"}},
		"word":            {"aaaa bbb ccc", 11, []string{"aaaa bbb", "ccc"}},
		"character":       {"aaaaaaaa", 3, []string{"aaa", "aaa", "aa"}},
		"style goes on":   {"**aaaa bbbb**", 9, []string{"*aaaa*", "*bbbb*"}},
		"fence goes on":   {"```\naaaa\n  bbbb\n```", 14, []string{"```\naaaa\n```", "```\n  bbbb\n```"}},
		"code is whole":   {"aaaa `b c` dd", 9, []string{"aaaa", "`b c` dd"}},
		"code too large":  {"`aaaaaaaa`", 5, []string{"`aaa`", "`aaa`", "`aa`"}},
		"family is one":   {"abc👩‍👩‍👧d", 10, []string{"abc", "👩‍👩‍👧d"}},
		"flags are two":   {"ab🇩🇪🇫🇷", 9, []string{"ab🇩🇪", "🇫🇷"}},
		"accents":         {"abe\u0301c", 3, []string{"ab", "e\u0301c"}},
		"more than fits":  {"e\u0301\u0301\u0301\u0301", 2, []string{"e\u0301", "\u0301\u0301", "\u0301"}},
		"hangul":          {"ab\u1112\u1161\u11ab", 4, []string{"ab", "\u1112\u1161\u11ab"}},
		"blank":           {" \n\n ", 5, nil},
		"quote goes on":   {"> aaaa bbbb", 8, []string{"> aaaa", "> bbbb"}},
		"surrogates":      {"😀😀😀", 4, []string{"😀😀", "😀"}},
		"no room at half": {"a bbbbbbbbb", 6, []string{"a bbbb", "bbbbb"}},
	} {
		if got := pieces(c.source, c.limit); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	link := pieces("aaaaaaa https://x.example/abc bb", 24)
	if !reflect.DeepEqual(link, []string{"aaaaaaa", "https://x.example/abc bb"}) {
		t.Errorf("%q", link)
	}
}

// letters is a text without what a cut may drop and what nobody sees.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '\u200B' {
			return -1
		}
		return r
	}, s)
}

func visible(runs []Run) string {
	var b strings.Builder
	for _, r := range runs {
		b.WriteString(r.Text)
	}
	return letters(b.String())
}

// FuzzMarks: whatever a model writes, nothing of it is lost, no piece is too large,
// and the marks that are written are those of the text's styles.
func FuzzMarks(f *testing.F) {
	for _, s := range []string{"# a\n\n- **b** _c_\n- `d`\n\n```go\nx\n```\n> q", "| a | b |\n|---|:-:|\n| c |", "<!channel> [a](https://b.example/?c&d) <b>", "**a*b**c*~~d~~", "e\u0301👩‍👩‍👧🇩🇪", "&#x3C;!here&#62;", "1. a\n   1. b\n      - c\n\n        d"} {
		f.Add(s, uint8(40))
	}
	f.Fuzz(func(t *testing.T, source string, n uint8) {
		if len(source) > 4000 {
			return
		}
		limit := 24 + int(n)
		runs := Parse(source, Options{Bullet: "• "})
		// Marks that no text holds can be taken out again exactly.
		m := Marks{Bold: "\x01", Italic: "\x02", Strike: "\x03", Code: "\x04", Fence: "\x05", InWords: true, Link: func(a, l string) string { return "\x06" + l + "\x07" }}
		size := func(r []Run) int { return Units(m.Write(r)) }
		var got strings.Builder
		for _, p := range Split(runs, limit, size) {
			text := m.Write(p)
			if letters(text) == "" {
				t.Fatalf("an empty piece of %q", source)
			}
			if Units(text) > limit && len(graphemes(visible(p))) > 1 {
				t.Fatalf("%d units in %q", Units(text), text)
			}
			balanced(t, text)
			got.WriteString(strings.Map(func(r rune) rune {
				if r < 8 {
					return -1
				}
				return r
			}, text))
		}
		if want := visible(runs); letters(got.String()) != strings.ReplaceAll(want, ">", "") && letters(strings.ReplaceAll(got.String(), ">", "")) != strings.ReplaceAll(want, ">", "") {
			t.Fatalf("%q became %q", want, letters(got.String()))
		}
	})
}

// graphemes cuts a text into what people see as characters.
func graphemes(s string) []string {
	var out []string
	from := 0
	for at := 1; at <= len(s); at++ {
		if grapheme(s, at) {
			out, from = append(out, s[from:at]), at
		}
	}
	return out
}

// balanced checks that marks come in pairs, each within its line, and close in the
// order in which they opened.
func balanced(t *testing.T, text string) {
	t.Helper()
	if strings.Count(text, "\x05")%2 != 0 || strings.Count(text, "\x06") != strings.Count(text, "\x07") {
		t.Fatalf("fences or links of %q", text)
	}
	for k, part := range strings.Split(text, "\x05") {
		if k%2 == 1 {
			continue
		}
		for line := range strings.SplitSeq(part, "\n") {
			var open []rune
			for _, r := range line {
				switch {
				case r == 0 || r > 4:
				case len(open) > 0 && open[len(open)-1] == r:
					open = open[:len(open)-1]
				default:
					open = append(open, r)
				}
			}
			if len(open) > 0 {
				t.Fatalf("%q leaves %q open", line, open)
			}
		}
	}
}

// TestDegenerateInputIsLeftAlone: what would be read in time that grows with its
// square is text as it is, and tables whose short rows would be filled up are none.
func TestDegenerateInputIsLeftAlone(t *testing.T) {
	for name, source := range map[string]string{
		"quotes":     strings.Repeat(">", 500) + "\n" + strings.Repeat("a\n", 250),
		"lists":      strings.Repeat("- ", 500),
		"mixed":      strings.Repeat("> * ", 100),
		"brackets":   strings.Repeat("[", 5000),
		"links":      strings.Repeat("[a](", 5000),
		"emphasis":   strings.Repeat("*a _b ", 5000),
		"ticks":      ticks(100),
		"html":       strings.Repeat("<a ", 5000),
		"very large": "**a**" + strings.Repeat("a", maxSource),
	} {
		if got := Parse(source, Options{}); len(got) != 1 || got[0] != (Run{Text: source}) {
			t.Errorf("%s was read into %d runs", name, len(got))
		}
	}
	columns := "|" + strings.Repeat("a|", 200) + "\n|" + strings.Repeat("-|", 200) + "\n" + strings.Repeat("|\n", 200)
	if got := Parse(columns, Options{}); len(got) != 1 || got[0].Style != 0 {
		t.Errorf("%d runs", len(got))
	}
	if got := Parse("**a**\n\n- b\n\n> > c", Options{}); len(got) < 3 {
		t.Errorf("%+v", got)
	}
}

func ticks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat("`", i) + " ")
	}
	return b.String()
}
