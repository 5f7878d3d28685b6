package whatsapp

import (
	"context"
	"strconv"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// certainty has the Cloud API's error codes that mean something else than a refusal
// of this message (developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes, read 2026-11).
var certainty = map[int64]channel.Certainty{
	4: channel.RateLimited, 80007: channel.RateLimited, 130429: channel.RateLimited, 131048: channel.RateLimited, 131056: channel.RateLimited,
	1: channel.Ambiguous, 2: channel.Ambiguous, 131000: channel.Ambiguous, 131016: channel.Ambiguous, 133004: channel.Ambiguous,
}

// pauses are how many seconds a limit lasts that Meta's answers do not say: one
// message every six seconds to the same person
// (developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages, read 2026-11).
var pauses = map[int64]int64{131056: 6}

// words name refusals that people ask about.
var words = map[int64]string{
	0: meta.TokenRefused, 190: meta.TokenRefused, 131005: "permission_missing", 10: "permission_missing", 131047: "window_closed",
	131026: "undeliverable", 131030: "recipient_not_allowed", 131031: "account_locked", 131062: "recipient_not_supported", 368: "policy_violation",
}

// Send posts one message. The turn travels as callback data, which statuses
// repeat.
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	body := map[string]any{"messaging_product": "whatsapp", "recipient_type": "individual", "type": "text",
		"text":                     map[string]any{"body": out.Text, "preview_url": false},
		"biz_opaque_callback_data": out.TurnID + "/" + strconv.Itoa(out.Part)}
	switch {
	case digits.MatchString(out.To):
		body["to"] = out.To
	case scopedID.MatchString(out.To):
		body["recipient"] = out.To
	default:
		return "", &channel.Failure{Certainty: channel.Refused, Code: "recipient_malformed"}
	}
	number := c.Config.Get(phoneNumberID)
	if !digits.MatchString(number) {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "phone_number_id"}
	}
	if out.Voice != nil {
		id, f := upload(ctx, c, number, out.Voice)
		if f != nil {
			return "", vendorapi.NotPosted(f)
		}
		delete(body, "text")
		body["type"], body["audio"] = "audio", map[string]any{"id": id, "voice": true}
	}
	o, f := call(ctx, c, "/"+number+"/messages", body)
	if f != nil {
		return "", f
	}
	id := o.First("messages").Str("id")
	if !meta.Plain(id) {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}
	}
	return id, nil
}

// call makes one Graph API call.
func call(ctx context.Context, c channel.Call, path string, body map[string]any) (channel.Object, *channel.Failure) {
	r, f := vendorapi.Post(ctx, c, path, body, vendorapi.Bearer)
	if f != nil {
		return nil, f
	}
	return answered(r)
}

func answered(r vendorapi.Reply) (channel.Object, *channel.Failure) {
	return meta.Codes{Certainty: certainty, Pauses: pauses, Words: words}.Answered(r)
}
