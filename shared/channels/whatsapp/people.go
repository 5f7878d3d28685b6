package whatsapp

import "github.com/latchkey/latchkey/shared/channel"

// system reads a message of the type system, which has no contacts and may have no
// sender (developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/system
// and the changelog of 2026-08-11, read 2026-11).
func system(in channel.Inbound, m channel.Object) channel.Inbound {
	s := m.Obj("system")
	if t := s.Str("type"); t != "user_changed_number" && t != "user_changed_user_id" {
		return in
	}
	number := s.Str("wa_id")
	if number == "" {
		number = s.Str("new_wa_id") // Graph API 11.0 and earlier
	}
	in.Envelope.EventID = m.Str("id")
	return renamed(in, channel.Renaming{Old: s.Str("previous_user_id"), New: s.Str("user_id"), OldBeside: m.Str("from"), NewBeside: number})
}

// updates reads the field of the earlier documentation. It does not name the old
// number.
func updates(in channel.Inbound, value channel.Object) []channel.Inbound {
	var out []channel.Inbound
	for _, u := range value.List("user_id_update") {
		update, _ := u.(channel.Object)
		ids := update.Obj("user_id")
		out = append(out, renamed(in, channel.Renaming{Old: ids.Str("previous"), New: ids.Str("current"), NewBeside: update.Str("wa_id")}))
	}
	if len(out) == 0 {
		out = append(out, in)
	}
	return out
}

// renamed makes the event of a renaming that names a person before and after; any
// other is ignored, and so is one with an id of another form.
func renamed(in channel.Inbound, r channel.Renaming) channel.Inbound {
	for _, id := range []string{r.Old, r.New} {
		if id != "" && !scopedID.MatchString(id) {
			return in
		}
	}
	for _, number := range []string{r.OldBeside, r.NewBeside} {
		if number != "" && !digits.MatchString(number) {
			return in
		}
	}
	if (r.Old == "" || r.New == "") && (r.OldBeside == "" || r.NewBeside == "") {
		return in
	}
	in.Kind, in.Reason, in.Renaming = channel.Renamed, channel.PersonRenamed, r
	return in
}
