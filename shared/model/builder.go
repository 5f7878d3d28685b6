package model

import "strings"

// Builder assembles a [Response] from events. The zero Builder is ready. It is
// not safe for concurrent use.
type Builder struct {
	r        Response
	text     strings.Builder
	kind     PartKind
	index    int
	open     *Reasoned
	lastTool *ToolCall
}

// Add takes the next event of a stream.
func (b *Builder) Add(ev Event) {
	switch ev.Kind {
	case EventStart:
		b.r.ID, b.r.Model, b.r.Created, b.r.ProviderRequestID = ev.ID, ev.Name, ev.Created, ev.RequestID
	case EventText:
		b.grow(PartText, 0, ev.Text)
	case EventRefusal:
		b.grow(PartRefusal, 0, ev.Text)
	case EventReasoning:
		b.grow(PartReasoning, ev.Index, ev.Text)
		b.annotate(ev.Reasoning)
	case EventToolStart:
		b.flush()
		b.lastTool = &ToolCall{ID: ev.ID, Name: ev.Name, Signature: ev.Signature}
		b.kind = PartToolCall
	case EventToolArgs:
		b.text.WriteString(ev.Text)
	case EventToolEnd:
		if ev.Signature != "" && b.lastTool != nil {
			b.lastTool.Signature = ev.Signature
		}
		b.flush()
	case EventUsage:
		if ev.Usage != nil {
			b.r.Usage = *ev.Usage
		}
	case EventFinish:
		b.flush()
		b.r.Finish, b.r.NativeFinish = ev.Finish, ev.Native
	}
}

// Response is what has been assembled so far. It may be called once.
func (b *Builder) Response() *Response {
	b.flush()
	b.r.Message.Role = RoleAssistant
	if b.r.Usage.Source == "" {
		b.r.Usage.Source = UsageNone
	}
	return &b.r
}

func (b *Builder) grow(kind PartKind, index int, text string) {
	if b.kind != kind || b.index != index {
		b.flush()
		b.kind, b.index = kind, index
	}
	b.text.WriteString(text)
}

func (b *Builder) annotate(r *Reasoned) {
	if b.open == nil {
		b.open = &Reasoned{}
	}
	if r == nil {
		return
	}
	b.open.Summary = b.open.Summary || r.Summary
	b.open.Data += r.Data
	setIfGiven(&b.open.Signature, r.Signature)
	setIfGiven(&b.open.ID, r.ID)
	setIfGiven(&b.open.Format, r.Format)
}

func setIfGiven(dst *string, s string) {
	if s != "" {
		*dst = s
	}
}

func (b *Builder) flush() {
	text := b.text.String()
	switch b.kind {
	case PartText, PartRefusal:
		if text != "" {
			b.r.Message.Parts = append(b.r.Message.Parts, Part{Kind: b.kind, Text: text})
		}
	case PartReasoning:
		b.open.Text = text
		b.r.Message.Parts = append(b.r.Message.Parts, Part{Kind: PartReasoning, Reasoning: b.open})
	case PartToolCall:
		b.lastTool.Args = text
		b.r.Message.Parts = append(b.r.Message.Parts, Part{Kind: PartToolCall, Call: b.lastTool})
	}
	b.text.Reset()
	b.kind, b.index, b.open, b.lastTool = "", 0, nil, nil
}
