package main

import (
	"context"
	"fmt"
	"sort"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// syncer is a GitOps tool with its manifest.
type syncer interface {
	// objects are what the manifest declares, with their namespaces.
	objects() []*unstructured.Unstructured
	// cluster reads the live objects.
	cluster() client.Client
	// apply does one sync and names, for each object, what the tool says it did.
	apply(ctx context.Context) (map[string]string, error)
}

// syncResult is what one sync did to one object.
type syncResult struct {
	// Sync counts from 1.
	Sync int `json:"sync"`
	// Object is Kind/name.
	Object string `json:"object,omitempty"`
	// Action is the tool's own word: created, configured, unchanged, serverside-applied…
	Action string `json:"action,omitempty"`
	// Removed are the spec fields that were there before the sync and are not there after it.
	Removed []string `json:"removed,omitempty"`
	// Taken are the managers that owned spec fields before and own them no more, with the fields that they lost.
	Taken []ownership `json:"taken,omitempty"`
	// Before and After are metadata.managedFields without the status.
	Before []ownership `json:"before,omitempty"`
	After  []ownership `json:"after,omitempty"`
	// ResourceVersion after the sync.
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Error is why the sync failed.
	Error string `json:"error,omitempty"`
}

// ownership is one entry of metadata.managedFields.
type ownership struct {
	Manager   string   `json:"manager"`
	Operation string   `json:"operation"`
	Fields    []string `json:"fields"`
}

// sync does one sync and compares the objects before and after. Somebody else's writes in between are seen too.
func sync(ctx context.Context, tool syncer) ([]syncResult, error) {
	before, err := live(ctx, tool)
	if err != nil {
		return nil, err
	}
	actions, err := tool.apply(ctx)
	if err != nil {
		return nil, err
	}
	after, err := live(ctx, tool)
	if err != nil {
		return nil, err
	}
	results := make([]syncResult, 0, len(after))
	for index, object := range tool.objects() {
		result, err := compare(before[index], after[index])
		if err != nil {
			return nil, err
		}
		result.Object = object.GetKind() + "/" + object.GetName()
		result.Action = actions[result.Object]
		results = append(results, result)
	}
	return results, nil
}

// live reads the tool's objects; one that does not exist is empty.
func live(ctx context.Context, tool syncer) ([]*unstructured.Unstructured, error) {
	found := make([]*unstructured.Unstructured, 0, len(tool.objects()))
	for _, wanted := range tool.objects() {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(wanted.GroupVersionKind())
		err := tool.cluster().Get(ctx, client.ObjectKeyFromObject(wanted), object)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("read %s: %w", wanted.GetName(), err)
		}
		found = append(found, object)
	}
	return found, nil
}

func compare(before, after *unstructured.Unstructured) (syncResult, error) {
	owned, err := owners(before)
	if err != nil {
		return syncResult{}, err
	}
	owns, err := owners(after)
	if err != nil {
		return syncResult{}, err
	}
	return syncResult{
		Removed:         difference(leaves(before), leaves(after)),
		Taken:           taken(owned, owns),
		Before:          owned,
		After:           owns,
		ResourceVersion: after.GetResourceVersion(),
	}, nil
}

// owners lists metadata.managedFields in the order of the object, as paths.
func owners(object *unstructured.Unstructured) ([]ownership, error) {
	var all []ownership
	for _, entry := range object.GetManagedFields() {
		if entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		fields, err := paths(entry)
		if err != nil {
			return nil, fmt.Errorf("fields of manager %s: %w", entry.Manager, err)
		}
		all = append(all, ownership{entry.Manager, string(entry.Operation), fields})
	}
	return all, nil
}

func paths(entry metav1.ManagedFieldsEntry) ([]string, error) {
	set := &fieldpath.Set{}
	if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
		return nil, err
	}
	fields := []string{}
	set.Leaves().Iterate(func(path fieldpath.Path) { fields = append(fields, path.String()) })
	sort.Strings(fields)
	return fields, nil
}

// taken are the spec fields that each manager owned before and does not own after.
func taken(before, after []ownership) []ownership {
	var lost []ownership
	for _, old := range before {
		kept := []string{}
		for _, now := range after {
			if now.Manager == old.Manager && now.Operation == old.Operation {
				kept = append(kept, now.Fields...)
			}
		}
		if fields := difference(old.Fields, kept); len(fields) > 0 {
			lost = append(lost, ownership{old.Manager, old.Operation, fields})
		}
	}
	return lost
}

// leaves are the paths of the spec's values. A list is one value.
func leaves(object *unstructured.Unstructured) []string {
	var found []string
	var walk func(path string, value any)
	walk = func(path string, value any) {
		fields, ok := value.(map[string]any)
		if !ok {
			found = append(found, path)
			return
		}
		for name, field := range fields {
			walk(path+"."+name, field)
		}
	}
	if spec, ok := object.Object["spec"]; ok {
		walk(".spec", spec)
	}
	sort.Strings(found)
	return found
}

// difference is what is in the first list and not in the second.
func difference(first, second []string) []string {
	present := map[string]bool{}
	for _, one := range second {
		present[one] = true
	}
	var missing []string
	for _, one := range first {
		if !present[one] {
			missing = append(missing, one)
		}
	}
	return missing
}
