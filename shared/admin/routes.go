package admin

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
)

const base = "/api/orgs/{org}"

// routes is the whole API. What is not here answers 404.
func routes() []route {
	var out []route
	for _, group := range [][]route{publicRoutes(), orgRoutes(), toolRoutes(), connectionRoutes(), installRoutes(), appRoutes(), sessionRoutes(), approvalRoutes(), creditRoutes(), legacyTokenRoutes(), commercialRoutes(), sharingRoutes(), billingRoutes(), integrationRoutes(), operatorRoutes(), paymentKeyRoutes(), rotationRoutes(), modelRoutes(), rolloutRoutes()} {
		out = append(out, group...)
	}
	return out
}

func create(path string, a access, summary string, body, result any, f func(*call) (any, error)) route {
	return route{method: http.MethodPost, path: path, access: a, status: http.StatusCreated, summary: summary, body: body, result: result, handle: f}
}

func act(path string, a access, summary string, body, result any, f func(*call) (any, error)) route {
	return route{method: http.MethodPost, path: path, access: a, status: http.StatusOK, summary: summary, body: body, result: result, handle: f}
}

func get(path string, a access, summary string, result any, f func(*call) (any, error), query ...param) route {
	return route{method: http.MethodGet, path: path, access: a, status: http.StatusOK, summary: summary, result: result, handle: f, query: query}
}

func lists(path string, a access, summary string, item any, f func(*call) (any, error), query ...param) route {
	r := get(path, a, summary, item, f, append(pageParams(), query...)...)
	r.list = true
	return r
}

func change(method, path string, a access, summary string, body, result any, f func(*call) (any, error)) route {
	return route{method: method, path: path, access: a, status: http.StatusOK, summary: summary, body: body, result: result, handle: f}
}

func remove(path string, a access, summary string, f func(*call) (any, error)) route {
	return route{method: http.MethodDelete, path: path, access: a, status: http.StatusNoContent, summary: summary, handle: bare(f)}
}

func publicRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/api/health", access: public, status: http.StatusOK, summary: "Whether the API answers", result: healthBody{}, public: health},
		{method: http.MethodGet, path: "/api/openapi.json", access: public, status: http.StatusOK, summary: "This document", result: map[string]any{}, public: openAPI},
	}
}

func orgRoutes() []route {
	return []route{
		create("/api/orgs", operatorAdmin, "Create an organisation and its ledger account; repeat with the same Idempotency-Key after a failure",
			newOrg{}, orgJSON{}, with(createOrg)),
		lists("/api/orgs", anyReader, "The organisations this key may see", orgJSON{}, listOrgs),
		get(base, orgRead, "An organisation", orgJSON{}, getOrg),
		change(http.MethodPatch, base, orgAdmin, "Change an organisation; tier, status and limits are the operator's", patchOrg{}, orgJSON{}, with(updateOrg)),

		create(base+"/keys", orgAdmin, "Create a key; it is shown in this answer only", newKey{}, createdKey{}, with(createKey)),
		lists(base+"/keys", orgAdmin, "The keys, without the keys themselves", keyJSON{}, listKeys),
		remove(base+"/keys/{id}", orgAdmin, "Revoke a key at once", revokeKey),

		get(base+"/settings", orgRead, "The AI settings; a stored openrouter_v1 record is answered as it is", settingsJSON{}, getSettings),
		change(http.MethodPut, base+"/settings", orgAdmin, "Replace the AI settings; with version only if nobody changed them since; an openrouter_v1 record without keys is accepted as it is",
			putSettingsBody{}, settingsJSON{}, putSettings),

		act(base+"/routes/explain", orgRead, "Which candidates a chat request would have, in order, with the reason of each and who would pay; calls nobody",
			explainBody{}, explainJSON{}, with(explainRoute)),

		create(base+"/agents", orgAdmin, "Create an agent", newAgent{}, agentJSON{}, with(createAgent)),
		lists(base+"/agents", orgRead, "The agents", agentJSON{}, listAgents),
		get(base+"/agents/{id}", orgRead, "An agent", agentJSON{}, getAgent),
		change(http.MethodPatch, base+"/agents/{id}", orgAdmin, "Change an agent", changedAgent{}, agentJSON{}, with(updateAgent)),
		remove(base+"/agents/{id}", orgAdmin, "Delete an agent", deleteAgent),

		lists(base+"/audit", orgRead, "Who changed what, newest first, 13 months back", auditJSON{}, listAudit),
		get(base+"/audit/verify", orgRead, "Whether rows of the audit log were altered, removed or inserted", verifyJSON{}, verifyAudit, verifyParam()),
	}
}

func connectionRoutes() []route {
	one := base + "/connections/{id}"
	return []route{
		create(base+"/connections", orgAdmin, "Add your own key or endpoint of a vendor", newConnection{}, connectionJSON{}, with(createConnection)),
		lists("/api/catalog", anyAdmin, "What can be connected: providers, channels and integrations with the fields of their forms", catalogJSON{}, listCatalog),
		lists(base+"/connections", orgRead, "The connections, without their keys", connectionJSON{}, listConnections),
		get(one, orgRead, "A connection", connectionJSON{}, getConnection),
		change(http.MethodPatch, one, orgAdmin, "Change a connection; a new base_url needs the key again", patchConnection{}, connectionJSON{}, with(updateConnection)),
		remove(one, orgAdmin, "Revoke the key and remove the connection", deleteConnection),
		act(one+"/rotate", orgAdmin, "Replace the key; ends a cooldown at once; the old key stays behind the new one for overlap_seconds, default 3600",
			rotateConnection{}, connectionJSON{}, with(rotateKey)),
		act(one+"/rotate/rollback", orgAdmin, "Take the replaced key back while it is kept; ends the newer one", nil, connectionJSON{}, bare(rollbackKey)),
		act(one+"/test", orgAdmin, "Ask the vendor: test_auth, list_models, test_text or test_voice", testConnection{}, connectionHealthJSON{}, with(runProbe)),
		act(one+"/revoke", orgAdmin, "Revoke the key; the connection stays, unusable", nil, connectionJSON{}, bare(revokeConnection)),
	}
}

func installRoutes() []route {
	one := base + "/installs/{id}"
	return []route{
		create(base+"/installs", orgAdmin, "Add a channel app; draft until every required secret is there, then verifying", newInstall{}, install.View{}, with(createInstall)),
		create(base+"/installs/consent", orgAdmin, "Begin to install an app of the platform on the vendor's own page: the address to open in a browser, within ten minutes; where a conversation is claimed in itself, the links that do it", consentBody{}, consentJSON{}, with(beginConsent)),
		act(base+"/installs/import", orgAdmin, "Take over bindings of the older product that name only provider and channel: drafts of installs without secrets, and bindings; what is ambiguous is refused, a repeat changes nothing",
			backfillBody{}, backfilledJSON{}, with(backfillInstalls)),
		lists(base+"/installs", orgRead, "The channel apps", install.View{}, listInstalls),
		get(one, orgRead, "A channel app", install.View{}, getInstall),
		change(http.MethodPatch, one, orgAdmin, "Change settings or add missing secrets", patchInstall{}, install.View{}, with(updateInstall)),
		remove(one, orgAdmin, "Revoke a channel app", deleteInstall),
		act(one+"/activate", orgAdmin, "Let messages through", nil, install.View{}, bare(activateInstall)),
		act(one+"/suspend", orgAdmin, "Stop until resumed", nil, install.View{}, bare(suspendInstall)),
		act(one+"/resume", orgAdmin, "Undo suspend", nil, install.View{}, bare(resumeInstall)),
		act(one+"/revoke", orgAdmin, "End for good; frees tenant and token", nil, install.View{}, bare(revokeInstall)),
		act(one+"/rotate", orgAdmin, "Replace a secret; the old value is accepted until retire_at, default 24 hours", rotateSecret{}, install.View{}, with(rotateInstall)),
		act(one+"/rotate/finish", orgAdmin, "Stop accepting the old value now", finishRotation{}, install.View{}, with(finishInstallRotation)),
		get(one+"/setup", orgRead, "How to connect the app, and what is done already", channel.Setup{}, setupInstall),

		create(base+"/bindings", orgAdmin, "Send matching traffic of an install to an agent; {} is the install's default", newBinding{}, bindingJSON{}, with(createBinding)),
		lists(base+"/bindings", orgRead, "The bindings", bindingJSON{}, listBindings, param{"install", "only of this install"}),
		get(base+"/bindings/{id}", orgRead, "A binding", bindingJSON{}, getBinding),
		change(http.MethodPatch, base+"/bindings/{id}", orgAdmin, "Change agent or persona of a binding", patchBinding{}, bindingJSON{}, with(updateBinding)),
		remove(base+"/bindings/{id}", orgAdmin, "Delete a binding", deleteBinding),
	}
}

func sessionRoutes() []route {
	return []route{
		lists(base+"/sessions", orgRead, "The conversations", sessionJSON{}, listSessions, param{"state", "human: only those in which a person answers"}),
		get(base+"/sessions/{id}", orgRead, "A conversation", sessionJSON{}, getSession),
		lists(base+"/sessions/{id}/messages", orgRead, "The messages of a conversation, oldest first", session.Message{}, listMessages),
		create(base+"/sessions/{id}/messages", orgAdmin, "Answer in the agent's place; it is posted behind what happens in the conversation, once per idempotency key, and its fate is its turn's", newMessage{}, queuedJSON{}, with(say)),
		act(base+"/sessions/{id}/handoff", orgAdmin, "Take a conversation over from its agent, which answers no more until it is given back", takeSession{}, sessionJSON{}, with(takeOver)),
		act(base+"/sessions/{id}/resume", orgAdmin, "Give a conversation back to its agent, which answers from the next message on", nil, sessionJSON{}, bare(giveBack)),
		lists(base+"/deliveries", orgRead, "What arrived at an install, newest first", session.Delivery{}, listDeliveries, param{"install", "the install, required"}),
		get(base+"/turns/{id}", orgRead, "One answer of an agent, with its outgoing parts", session.TurnView{}, getTurn),
	}
}

func creditRoutes() []route {
	return []route{
		get(base+"/credits", orgBilling, "The balance", creditsJSON{}, getCredits),
		change(http.MethodPut, base+"/credits", orgOperator, "Set the credit line: how far below zero calls may reserve", lineBody{}, creditsJSON{}, with(setCreditLine)),
		create(base+"/grants", orgOperator, "Grant credits, once per idempotency key", postingBody{}, postingJSON{}, with(grantCredits)),
		create(base+"/adjustments", orgOperator, "Add or take credits, once per idempotency key", postingBody{}, postingJSON{}, with(adjustCredits)),
		lists(base+"/entries", orgBilling, "The ledger, newest first", entryJSON{}, listEntries),
		lists(base+"/holds", orgBilling, "Credits reserved for running calls", holdJSON{}, listHolds),
		get(base+"/requests/{id}", orgBilling, "A metered request with its attempts", requestJSON{}, getRequest),
		lists(base+"/usage", orgBilling, "Usage per group, 200 groups a page unless limit says less", usageRow{}, getUsage, usageParams()...),
		lists(base+"/alerts", orgBilling, "When credits ran low, newest top-up first", alertJSON{}, listAlerts),
		get(base+"/alerts/settings", orgBilling, "What balances are measured against", alertSettingsJSON{}, getAlertSettings),
		change(http.MethodPut, base+"/alerts/settings", orgAdmin, "Set the amount at which credits count as low; 0 for none", alertSettingsBody{}, alertSettingsJSON{}, with(putAlertSettings)),
	}
}

func operatorRoutes() []route {
	return []route{
		get("/api/operator/tiers", operatorRead, "The features of each tier", tiersJSON{}, getTiers),
		change(http.MethodPut, "/api/operator/tiers", operatorAdmin, "Change features; what is not named stays", tiersBody{}, tiersJSON{}, with(putTiers)),
		lists("/api/operator/prices", operatorRead, "The price book versions", bookJSON{}, listPrices),
		create("/api/operator/prices", operatorAdmin, "Lay rows over the active book as a new version", importPrices{}, bookJSON{}, with(createPrices)),
		get("/api/operator/prices/{version}", operatorRead, "A price book version with its rows", bookDetail{}, getPrices),
		act("/api/operator/prices/{version}/activate", operatorAdmin, "Make a version apply", nil, bookJSON{}, bare(activatePrices)),
		act("/api/operator/reconcile", operatorAdmin, "Compare balances with entries and holds", reconcileBody{}, reconcileJSON{}, with(reconcile)),
		act("/api/operator/rebuild-usage", operatorAdmin, "Build usage rows anew from the entries, of one organisation or all; call again until complete", rebuildBody{}, rebuildJSON{}, with(rebuildUsage)),
		lists("/api/operator/poison", operatorRead, "What settlement cannot process; tried again every hour, gone when it has ended", poisonJSON{}, listPoison),
		act("/api/operator/poison/retry", operatorAdmin, "Try poison again within a minute, one record or all", retryPoisonBody{}, retryPoisonJSON{}, with(retryPoison)),
		act("/api/operator/poison/dismiss", operatorAdmin, "Say that poison can never be settled and needs nobody any more; it stays listed", dismissPoisonBody{}, poisonJSON{}, with(dismissPoison)),
		get("/api/operator/unbilled", operatorRead, "Calls of a month that ended without usage although the vendor may have answered", unbilledJSON{}, getUnbilled, param{"month", "YYYY-MM, default the current one"}),
		lists("/api/operator/audit", operatorRead, "Changes of the operator's own resources", auditJSON{}, listOperatorAudit),
		get("/api/operator/audit/verify", operatorRead, "Whether rows of the operator's audit log were altered, removed or inserted", verifyJSON{}, verifyOperatorAudit, verifyParam()),
	}
}
