package gemini

import (
	"encoding/json"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// turn is one entry of contents: turns alternate, and the results of functions
// stand first in the user's turn after the calls.
type turn struct {
	model   bool
	results []*model.Part
	parts   []*model.Part
}

// contents writes systemInstruction and contents.
func (c *Chat) contents(o *jsonwire.Object, r *model.Request, p *profile) error {
	list := r.Messages
	n := 0
	for n < len(list) && list[n].Role == model.RoleSystem {
		n++
	}
	var system turn
	for i := range list[:n] {
		t, err := c.turn(&list[i])
		if err != nil {
			return err
		}
		system.parts = append(system.parts, t.parts...)
	}
	turns, err := c.turns(list[n:])
	if err != nil {
		return err
	}
	if len(turns) == 0 {
		return c.refuse("messages", "at least one user message with content is required")
	}
	w := writer{c: c, p: p, names: map[string]string{}}
	if len(system.parts) > 0 {
		o.Name("systemInstruction")
		if o.B, err = w.turn(o.B, &system, ""); err != nil {
			return err
		}
	}
	o.Name("contents")
	o.B = append(o.B, '[')
	for i := range turns {
		if i > 0 {
			o.B = append(o.B, ',')
		}
		role := "user"
		if turns[i].model {
			role = "model"
		}
		if o.B, err = w.turn(o.B, &turns[i], role); err != nil {
			return err
		}
	}
	o.B = append(o.B, ']')
	return nil
}

// turns merges messages of one side.
func (c *Chat) turns(list []model.Message) ([]turn, error) {
	var out []turn
	for i := range list {
		t, err := c.turn(&list[i])
		if err != nil {
			return nil, err
		}
		switch {
		case len(t.parts)+len(t.results) == 0:
		case len(out) > 0 && out[len(out)-1].model == t.model:
			last := &out[len(out)-1]
			last.results = append(last.results, t.results...)
			last.parts = append(last.parts, t.parts...)
		default:
			out = append(out, t)
		}
	}
	return out, nil
}

// turn sorts the parts of one message.
func (c *Chat) turn(m *model.Message) (t turn, err error) {
	switch m.Role {
	case model.RoleAssistant:
		t.model = true
	case model.RoleSystem, model.RoleTool, model.RoleUser:
	default:
		return t, c.refuse("messages", "a message has an unknown role")
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		switch p.Kind {
		case model.PartToolResult:
			if m.Role != model.RoleTool && m.Role != model.RoleUser {
				return t, c.refuse("messages", "only a tool or user message holds the result of a tool")
			}
			t.results = append(t.results, p)
			continue
		case model.PartToolCall, model.PartReasoning, model.PartRefusal:
			if !t.model {
				return t, c.refuse("messages", "only an assistant message holds tool calls, reasoning and refusals")
			}
		}
		switch {
		case m.Role == model.RoleTool:
			return t, c.refuse("messages", "a tool message may only hold tool results")
		case m.Role == model.RoleSystem && p.Kind != model.PartText:
			return t, c.refuse("messages", "a system message may only hold text")
		case (p.Kind == model.PartText || p.Kind == model.PartRefusal) && p.Text == "":
			continue
		case p.Reasoning != nil && (p.Reasoning.Format != format || p.Reasoning.Signature == ""):
			// Only what this vendor signed means anything to it.
			continue
		}
		t.parts = append(t.parts, p)
	}
	return t, nil
}

// format names the shape of this vendor's thoughts and signatures.
const format = "google-gemini-v1"

// placeholder is what the API takes instead of a signature that is not known
// (ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11-22).
const placeholder = "skip_thought_signature_validator"

// writer writes turns. names are the functions of the calls seen so far, by the
// call's ID: a result names its function.
type writer struct {
	c     *Chat
	p     *profile
	names map[string]string
}

func (w *writer) turn(b []byte, t *turn, role string) ([]byte, error) {
	o := jsonwire.Begin(b)
	o.StringIf("role", role)
	o.Name("parts")
	o.B = append(o.B, '[')
	unsigned := w.p.signed
	for i, p := range slices.Concat(t.results, t.parts) {
		if i > 0 {
			o.B = append(o.B, ',')
		}
		var err error
		if p.Kind == model.PartToolCall {
			// Of parallel calls only the first is signed.
			o.B = w.call(o.B, p.Call, unsigned)
			unsigned = false
			continue
		}
		if o.B, err = w.part(o.B, p); err != nil {
			return nil, err
		}
	}
	o.B = append(o.B, ']')
	return o.End(), nil
}

func (w *writer) part(b []byte, p *model.Part) ([]byte, error) {
	o := jsonwire.Begin(b)
	switch p.Kind {
	case model.PartText, model.PartRefusal:
		o.String("text", p.Text)
	case model.PartReasoning:
		o.String("text", p.Reasoning.Text)
		if p.Reasoning.Text != "" {
			o.Bool("thought", true)
		}
		o.String("thoughtSignature", p.Reasoning.Signature)
	case model.PartImage, model.PartAudio, model.PartFile:
		if err := w.media(&o, p); err != nil {
			return nil, err
		}
	case model.PartToolResult:
		if err := w.result(&o, p.Result); err != nil {
			return nil, err
		}
	default:
		return nil, w.c.refuse("messages", "a message holds a part that is not known")
	}
	return o.End(), nil
}

func (w *writer) call(b []byte, c *model.ToolCall, mustSign bool) []byte {
	w.names[c.ID] = c.Name
	o := jsonwire.Begin(b)
	o.Name("functionCall")
	f := jsonwire.Begin(o.B)
	f.StringIf("id", c.ID)
	f.String("name", c.Name)
	f.Name("args")
	switch args := strings.TrimSpace(c.Args); {
	case args == "":
		f.B = append(f.B, "{}"...)
	case args[0] == '{' && json.Valid([]byte(args)):
		f.B = append(f.B, args...)
	default:
		// The API takes only an object, and the conversation must be able to go
		// on after a model wrote something else.
		n := jsonwire.Begin(f.B)
		n.String("invalid_arguments", c.Args)
		f.B = n.End()
	}
	o.B = f.End()
	if c.Signature != "" {
		o.String("thoughtSignature", c.Signature)
	} else if mustSign {
		o.String("thoughtSignature", placeholder)
	}
	return o.End()
}

// result writes a functionResponse. A JSON object goes as it is, other text as
// the member output, or error.
func (w *writer) result(o *jsonwire.Object, r *model.ToolResult) error {
	name, ok := w.names[r.CallID]
	if !ok {
		return w.c.refuse("messages", "the result of a tool belongs to no earlier call")
	}
	o.Name("functionResponse")
	f := jsonwire.Begin(o.B)
	f.StringIf("id", r.CallID)
	f.String("name", name)
	f.Name("response")
	text := strings.TrimSpace(r.Text())
	if !r.IsError && strings.HasPrefix(text, "{") && jsonwire.Check([]byte(text)) == nil {
		f.B = append(f.B, text...)
	} else {
		member := "output"
		if r.IsError {
			member = "error"
		}
		n := jsonwire.Begin(f.B)
		n.String(member, r.Text())
		f.B = n.End()
	}
	n := 0
	for i := range r.Parts {
		p := &r.Parts[i]
		switch {
		case p.Kind == model.PartText:
			continue
		case !w.p.resultMedia || p.Kind != model.PartImage && p.Kind != model.PartFile || p.Media.Base64 == "":
			return w.c.refuseMedia("this model takes text as the result of a tool; newer ones take images and files as bytes as well")
		}
		if n++; n == 1 {
			f.Name("parts")
			f.B = append(f.B, '[')
		} else {
			f.B = append(f.B, ',')
		}
		m := jsonwire.Begin(f.B)
		if err := w.media(&m, p); err != nil {
			return err
		}
		f.B = m.End()
	}
	if n > 0 {
		f.B = append(f.B, ']')
	}
	o.B = f.End()
	return nil
}

// Media types the API takes (ai.google.dev/gemini-api/docs: image-understanding,
// audio, document-processing; read 2026-11-22). Besides these files may be any
// text or video.
var (
	imageTypes = []string{"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"}
	audioTypes = map[string]string{"wav": "audio/wav", "mp3": "audio/mp3", "aiff": "audio/aiff", "aac": "audio/aac", "ogg": "audio/ogg",
		"flac": "audio/flac", "audio/x-wav": "audio/wav", "audio/mpeg": "audio/mp3", "audio/opus": "audio/ogg"}
	extensions = map[string]string{".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
		".heic": "image/heic", ".heif": "image/heif", ".pdf": "application/pdf", ".txt": "text/plain", ".wav": "audio/wav", ".mp3": "audio/mp3",
		".ogg": "audio/ogg", ".flac": "audio/flac", ".mp4": "video/mp4"}
)

// takes says whether a part of a kind may have a media type.
func takes(kind model.PartKind, mime string) bool {
	switch kind {
	case model.PartImage:
		return slices.Contains(imageTypes, mime)
	case model.PartAudio:
		return strings.HasPrefix(mime, "audio/") && slices.Contains(audioMIMEs(), mime)
	}
	return mime == "application/pdf" || strings.HasPrefix(mime, "text/") || strings.HasPrefix(mime, "video/") ||
		slices.Contains(imageTypes, mime) || slices.Contains(audioMIMEs(), mime)
}

func audioMIMEs() []string {
	return []string{"audio/wav", "audio/mp3", "audio/aiff", "audio/aac", "audio/ogg", "audio/flac"}
}

func (w *writer) media(o *jsonwire.Object, p *model.Part) error {
	m := p.Media
	mime := m.MIME
	if mime == "" {
		mime = audioTypes[m.Format]
	} else if canonical, ok := audioTypes[mime]; ok {
		mime = canonical
	}
	uri := m.URL
	switch {
	case m.FileID != "":
		id, ok := strings.CutPrefix(m.FileID, "files/")
		if !ok || id == "" || strings.Trim(id, nameChars) != "" {
			return w.c.refuseMedia("a file of this provider is named files/ID")
		}
		uri = baseURL + "/" + m.FileID
	case m.URL != "":
		u, err := url.Parse(m.URL)
		if err != nil || u.Scheme != "https" || !w.p.remote {
			return w.c.refuseMedia("media must be given as bytes, or with newer models as an https URL")
		}
		if mime == "" {
			mime = extensions[strings.ToLower(path.Ext(u.Path))]
		}
	case m.Base64 == "":
		return w.c.refuseMedia("media must be given as bytes, as an https URL or as a file of the provider")
	}
	if mime == "" && m.FileID == "" {
		return w.c.refuseMedia("the media type must be stated, this provider does not guess it")
	}
	if mime != "" && !takes(p.Kind, mime) {
		return w.c.refuseMedia("this provider does not take this format; it takes images as PNG, JPEG, WebP or HEIC, audio as WAV, MP3, AIFF, AAC, OGG or FLAC, and files as PDF, text or video")
	}
	if uri != "" {
		o.Name("fileData")
		f := jsonwire.Begin(o.B)
		f.StringIf("mimeType", mime)
		f.String("fileUri", uri)
		o.B = f.End()
		return nil
	}
	o.Name("inlineData")
	f := jsonwire.Begin(o.B)
	f.String("mimeType", mime)
	f.String("data", m.Base64)
	o.B = f.End()
	return nil
}
