package consent

import (
	"html"
	"net/http"
)

type text struct {
	status int
	html   string
}

// texts are the pages. They hold nothing of the request, so that nobody can make
// one say something else.
func texts() map[Outcome]text {
	const begin = " To begin again: <code>lk install consent</code>, or the operator of your console.</p>"
	return map[Outcome]text{
		Shown:     {http.StatusOK, ""}, // see offerPage
		Sent:      {http.StatusSeeOther, page("Continue", "<p>Your browser should have gone on to the authorisation page.</p>")},
		Installed: {http.StatusOK, page("Installed", "<p>The app is connected and active. Send its messages to an agent with <code>lk binding create</code>; until then they are dropped. You can close this page.</p>")},
		Declined:  {http.StatusOK, page("Not installed", "<p>The authorisation was declined, so nothing was installed."+begin)},
		Refused: {http.StatusBadRequest, page("Not accepted", "<p>This link was used already, is older than ten minutes, or was not begun in this browser. "+
			"It installed nothing now. Look at <code>lk install list</code> first if you have just authorised the app."+begin)},
		Failed: {http.StatusBadGateway, page("Not installed", "<p>The authorisation could not be confirmed, so nothing was installed; the audit log says why."+begin)},
		Conflicting: {http.StatusConflict, page("Connected already", "<p>This workspace is connected to the app by a live install, so nothing was installed. "+
			"Whoever has that install must revoke it first (<code>lk install revoke</code>)."+begin)},
		Unchosen: {http.StatusConflict, page("Choose exactly one", "<p>You allowed the app nothing that it can be connected to, or more than one page or account, so nothing was installed. "+
			"Begin again for each one that you want, and choose that one only."+begin)},
		Unavailable: {http.StatusServiceUnavailable, page("Not finished", "<p>Something that is needed did not answer. If <code>lk install list</code> shows the app as verifying, "+
			"activate it (<code>lk install activate</code>); otherwise nothing was installed."+begin)},
		Lost: {http.StatusNotFound, page("Not found", "<p>There is nothing at this address.</p>")},
	}
}

func page(title, body string) string {
	return "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>" + title + "</title>\n<h1>" + title + "</h1>\n" + body + "\n</html>\n"
}

// offerPage names the organisation, so that nobody connects a workspace to a
// stranger's. The button posts to the page's own address.
func offerPage(vendor, name, id string) string {
	return page("Connect "+html.EscapeString(vendor), "<p>You are about to connect a tenant of "+html.EscapeString(vendor)+" to the organisation <b>"+html.EscapeString(name)+
		"</b> ("+html.EscapeString(id)+"). Its agents will read and answer what is sent to the app. Go on only if this is your organisation.</p>\n<form method=\"post\"><button>Continue to "+html.EscapeString(vendor)+"</button></form>")
}

// headers keep a page from being stored, framed, or extended. An address holds a
// state, so no other site is told it.
func headers() map[string]string {
	return map[string]string{
		"content-type": "text/html; charset=utf-8", "cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff",
		"x-frame-options": "DENY", "content-security-policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
	}
}
