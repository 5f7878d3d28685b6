package dynamo

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/schemas"
	"github.com/aws/smithy-go"

	"github.com/latchkey/latchkey/shared/awscall"
)

// direct sends operations without the SDK's stack of middleware; see [awscall].
type direct struct {
	awscall.Service
	get, batchGet, query, transact, update, put *smithy.OperationSchema
}

func newDirect(client *dynamodb.Client) *direct {
	o := client.Options()
	d := &direct{Service: awscall.Service{Name: "dynamodb", Region: o.Region, HTTP: o.HTTPClient, Signer: o.HTTPSignerV4, Credentials: o.Credentials,
		Protocol: o.Protocol, Errors: dynamodb.TypeRegistry, Retryer: o.Retryer},
		get:      smithy.NewOperationSchema(schemas.GetItem, schemas.GetItemInput, schemas.GetItemOutput),
		batchGet: smithy.NewOperationSchema(schemas.BatchGetItem, schemas.BatchGetItemInput, schemas.BatchGetItemOutput),
		query:    smithy.NewOperationSchema(schemas.Query, schemas.QueryInput, schemas.QueryOutput),
		transact: smithy.NewOperationSchema(schemas.TransactWriteItems, schemas.TransactWriteItemsInput, schemas.TransactWriteItemsOutput),
		update:   smithy.NewOperationSchema(schemas.UpdateItem, schemas.UpdateItemInput, schemas.UpdateItemOutput),
		put:      smithy.NewOperationSchema(schemas.PutItem, schemas.PutItemInput, schemas.PutItemOutput)}
	params := dynamodb.EndpointParameters{Region: aws.String(o.Region), Endpoint: o.BaseEndpoint,
		UseDualStack: aws.Bool(o.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseFIPS:      aws.Bool(o.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled)}
	endpoint, err := o.EndpointResolverV2.ResolveEndpoint(context.Background(), params)
	if err != nil {
		d.Err = fmt.Errorf("dynamo: no endpoint: %w", err)
	}
	d.URL = awscall.At(endpoint.URI)
	return d
}
