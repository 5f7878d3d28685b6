package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/table"
)

// SetOffers implements [connection.OfferStore] with one UpdateItem. The list has a
// partition of its own, so that requests, which read the organisation's, do not
// carry it.
func (s Connections) SetOffers(ctx context.Context, o connection.Offers) error {
	models := make([]string, len(o.Models))
	for i, m := range o.Models {
		models[i] = fmt.Sprintf("%d %d %s", m.ContextTokens, m.MaxOutputTokens, m.Model)
	}
	_, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Config), Key: keyItem(table.Offers(o.Org, o.Connection)),
		UpdateExpression:    aws.String("SET #org = :org, #conn = :conn, #fp = :fp, #url = :url, #at = :at, #total = :total, #models = :models"),
		ConditionExpression: aws.String("attribute_not_exists(#at) OR #at < :at"),
		ExpressionAttributeNames: map[string]string{"#org": "org", "#conn": "conn", "#fp": "fp", "#url": "url", "#at": "at",
			"#total": "total", "#models": "models"},
		ExpressionAttributeValues: item{":org": str(o.Org), ":conn": str(o.Connection), ":fp": str(o.Fingerprint), ":url": str(o.BaseURL),
			":at": millis(o.At), ":total": num(o.Total), ":models": strs(models)},
	})
	if _, older := conditionFailed(err); older {
		return nil
	}
	if err != nil {
		return configDown("dynamo.SetOffers", err)
	}
	return nil
}

// Offers implements [connection.OfferStore].
func (s Connections) Offers(ctx context.Context, org string) ([]connection.Offers, error) {
	const op = "dynamo.Offers"
	items, err := s.db.query(ctx, query{role: table.Config, pk: table.Offers(org, "").PK})
	if err != nil {
		return nil, configDown(op, err)
	}
	out := make([]connection.Offers, len(items))
	for i, it := range items {
		if out[i], err = decodeOffers(it); err != nil {
			return nil, storedBadly(op, err)
		}
	}
	return out, nil
}

func decodeOffers(it item) (connection.Offers, error) {
	r := read(it)
	o := connection.Offers{Org: r.str("org"), Connection: r.str("conn"), Fingerprint: r.str("fp"), BaseURL: r.str("url"), At: r.time("at"),
		Total: r.num("total")}
	for _, line := range r.strs("models") {
		f := strings.SplitN(line, " ", 3)
		if len(f) != 3 {
			return o, errors.New("models")
		}
		window, err1 := strconv.ParseInt(f[0], 10, 64)
		most, err2 := strconv.ParseInt(f[1], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return o, err
		}
		o.Models = append(o.Models, connection.Offered{Model: f[2], ContextTokens: window, MaxOutputTokens: most})
	}
	return o, r.err
}
