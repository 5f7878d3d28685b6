package ddblocal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"
)

// ErrTableDiffers reports that an existing table has other keys or indexes than
// its specification: the data is of another version of the design.
var ErrTableDiffers = errors.New("ddblocal: existing table differs")

// TableSpec describes a table with string keys. SK may be empty.
type TableSpec struct {
	Name, PK, SK string
	// TTLAttribute, if set, is switched on; the engine deletes expired items
	// by the wall clock.
	TTLAttribute string
	// Stream adds a stream of new and old images.
	Stream  bool
	Indexes []IndexSpec
}

// IndexSpec describes a global secondary index. The key types are "S", "N" or
// "B", empty meaning "S"; Projection is "ALL" or "KEYS_ONLY", empty meaning
// "ALL". SK may be empty.
type IndexSpec struct {
	Name, PK, SK   string
	PKType, SKType string
	Projection     string
}

// EnsureTables creates what is missing and returns the stream ARN of every
// table that has a stream, by table name. It may be called again and by several
// processes at once. An existing table with other keys is [ErrTableDiffers] and
// stays as it is.
func EnsureTables(ctx context.Context, client *dynamodb.Client, specs []TableSpec) (map[string]string, error) {
	arns := make([]string, len(specs))
	group, ctx := errgroup.WithContext(ctx)
	for i, spec := range specs {
		group.Go(func() error {
			arn, err := ensureTable(ctx, client, spec)
			arns[i] = arn
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	streams := make(map[string]string)
	for i, spec := range specs {
		if spec.Stream {
			streams[spec.Name] = arns[i]
		}
	}
	return streams, nil
}

func ensureTable(ctx context.Context, client *dynamodb.Client, spec TableSpec) (string, error) {
	_, err := client.CreateTable(ctx, createInput(spec))
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		return "", fmt.Errorf("ddblocal: creating table %s: %w", spec.Name, err)
	}
	table, err := waitActive(ctx, client, spec.Name)
	if err != nil {
		return "", err
	}
	if want, got := shapeOf(createInput(spec)), shapeOfTable(table); want != got {
		return "", fmt.Errorf("%w: %s has %s, wanted %s: start with fresh data", ErrTableDiffers, spec.Name, got, want)
	}
	if spec.Stream && table.StreamSpecification == nil {
		input := &dynamodb.UpdateTableInput{TableName: &spec.Name, StreamSpecification: streamSpec()}
		if _, err := client.UpdateTable(ctx, input); err != nil {
			return "", fmt.Errorf("ddblocal: stream of table %s: %w", spec.Name, err)
		}
		if table, err = waitActive(ctx, client, spec.Name); err != nil {
			return "", err
		}
	}
	if err := ensureTTL(ctx, client, spec); err != nil {
		return "", err
	}
	return aws.ToString(table.LatestStreamArn), nil
}

func createInput(spec TableSpec) *dynamodb.CreateTableInput {
	attributes := map[string]string{}
	input := &dynamodb.CreateTableInput{
		TableName:   &spec.Name,
		BillingMode: types.BillingModePayPerRequest,
		KeySchema:   keySchema(attributes, spec.PK, "S", spec.SK, "S"),
	}
	for _, index := range spec.Indexes {
		projection := types.ProjectionType(index.Projection)
		if projection == "" {
			projection = types.ProjectionTypeAll
		}
		input.GlobalSecondaryIndexes = append(input.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName:  &index.Name,
			KeySchema:  keySchema(attributes, index.PK, index.PKType, index.SK, index.SKType),
			Projection: &types.Projection{ProjectionType: projection},
		})
	}
	for name, kind := range attributes {
		input.AttributeDefinitions = append(input.AttributeDefinitions,
			types.AttributeDefinition{AttributeName: aws.String(name), AttributeType: types.ScalarAttributeType(kind)})
	}
	if spec.Stream {
		input.StreamSpecification = streamSpec()
	}
	return input
}

func streamSpec() *types.StreamSpecification {
	return &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages}
}

func keySchema(attributes map[string]string, pk, pkType, sk, skType string) []types.KeySchemaElement {
	add := func(name, kind string, role types.KeyType) types.KeySchemaElement {
		if kind == "" {
			kind = "S"
		}
		attributes[name] = kind
		return types.KeySchemaElement{AttributeName: aws.String(name), KeyType: role}
	}
	schema := []types.KeySchemaElement{add(pk, pkType, types.KeyTypeHash)}
	if sk != "" {
		schema = append(schema, add(sk, skType, types.KeyTypeRange))
	}
	return schema
}

// shapeOf and shapeOfTable write keys and indexes in one comparable line.
func shapeOf(in *dynamodb.CreateTableInput) string {
	parts := make([]string, 0, len(in.GlobalSecondaryIndexes))
	for _, index := range in.GlobalSecondaryIndexes {
		parts = append(parts, shape(*index.IndexName, index.KeySchema, in.AttributeDefinitions)+string(index.Projection.ProjectionType))
	}
	slices.Sort(parts)
	return shape("keys", in.KeySchema, in.AttributeDefinitions) + strings.Join(parts, " ")
}

func shapeOfTable(t *types.TableDescription) string {
	parts := make([]string, 0, len(t.GlobalSecondaryIndexes))
	for _, index := range t.GlobalSecondaryIndexes {
		parts = append(parts, shape(aws.ToString(index.IndexName), index.KeySchema, t.AttributeDefinitions)+string(index.Projection.ProjectionType))
	}
	slices.Sort(parts)
	return shape("keys", t.KeySchema, t.AttributeDefinitions) + strings.Join(parts, " ")
}

func shape(name string, schema []types.KeySchemaElement, attributes []types.AttributeDefinition) string {
	text := name + "("
	for _, element := range schema {
		for _, attribute := range attributes {
			if aws.ToString(attribute.AttributeName) == aws.ToString(element.AttributeName) {
				text += fmt.Sprintf("%s:%s:%s ", aws.ToString(element.AttributeName), attribute.AttributeType, element.KeyType)
			}
		}
	}
	return strings.TrimSpace(text) + ") "
}

func waitActive(ctx context.Context, client *dynamodb.Client, name string) (*types.TableDescription, error) {
	for {
		out, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
		if err != nil {
			return nil, fmt.Errorf("ddblocal: describing table %s: %w", name, err)
		}
		if out.Table.TableStatus == types.TableStatusActive {
			return out.Table, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("ddblocal: table %s is not active: %w", name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func ensureTTL(ctx context.Context, client *dynamodb.Client, spec TableSpec) error {
	if spec.TTLAttribute == "" {
		return nil
	}
	out, err := client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &spec.Name})
	if err != nil {
		return fmt.Errorf("ddblocal: time to live of table %s: %w", spec.Name, err)
	}
	if d := out.TimeToLiveDescription; d != nil && aws.ToString(d.AttributeName) == spec.TTLAttribute {
		return nil
	}
	_, err = client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName: &spec.Name,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{
			AttributeName: &spec.TTLAttribute, Enabled: aws.Bool(true),
		},
	})
	if err != nil {
		return fmt.Errorf("ddblocal: time to live of table %s: %w", spec.Name, err)
	}
	return nil
}
