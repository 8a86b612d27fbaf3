package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// statusResult is what kstatus makes of an object.
type statusResult struct {
	// Status is InProgress, Current, Failed, Terminating, NotFound or Unknown.
	Status string `json:"status"`
	// Message is why.
	Message string `json:"message"`
}

// printStatus prints what kstatus says about a live object, or about one from a file.
func printStatus(ctx context.Context, arguments []string) error {
	set := flag.NewFlagSet("kstatus", flag.ContinueOnError)
	var where target
	where.flags(set)
	version := set.String("api-version", "tributestream.com/v1alpha1", "apiVersion of the live object")
	kind := set.String("kind", "MemorialStream", "kind of the live object")
	if err := set.Parse(arguments); err != nil {
		return err
	}
	var result *status.Result
	var err error
	if where.file != "" {
		result, err = statusOfFile(&where)
	} else if set.NArg() == 1 {
		result, err = statusOfLive(ctx, &where, schema.FromAPIVersionAndKind(*version, *kind), set.Arg(0))
	} else {
		err = fmt.Errorf("kstatus needs the name of one object, or -f FILE")
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(statusResult{result.Status.String(), result.Message})
}

func statusOfFile(where *target) (*status.Result, error) {
	text, err := where.read()
	if err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	return status.Compute(object)
}

func statusOfLive(
	ctx context.Context, where *target, kind schema.GroupVersionKind, name string,
) (*status.Result, error) {
	config, err := where.config()
	if err != nil {
		return nil, err
	}
	cluster, err := client.New(config, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	err = cluster.Get(ctx, client.ObjectKey{Namespace: where.namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		return &status.Result{Status: status.NotFoundStatus, Message: "Resource not found"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return status.Compute(object)
}
