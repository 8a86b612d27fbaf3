package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	"github.com/fluxcd/pkg/ssa/utils"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What follows is kustomize-controller's own configuration, from internal/controller/kustomization_controller.go of
// version 1.9.6 (functions reconcile and apply), with the defaults of its flags.
const (
	fluxController = "kustomize-controller"
	fluxGroup      = "kustomize.toolkit.fluxcd.io"
	concurrentSSA  = 4
	// The Kustomization that the objects belong to.
	kustomization          = "services"
	kustomizationNamespace = "flux-system"
)

type flux struct {
	client   client.Client
	manager  *ssa.ResourceManager
	declared []*unstructured.Unstructured
}

func newFlux(config *rest.Config, namespace string, manifest []byte) (*flux, error) {
	cluster, err := client.New(config, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	declared, err := utils.ReadObjects(bytes.NewReader(manifest))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	for _, object := range declared {
		object.SetNamespace(namespace)
	}
	poller := polling.NewStatusPoller(cluster, cluster.RESTMapper(), polling.Options{})
	manager := ssa.NewResourceManager(cluster, poller, ssa.Owner{Field: fluxController, Group: fluxGroup})
	manager.SetOwnerLabels(declared, kustomization, kustomizationNamespace)
	manager.SetConcurrency(concurrentSSA)
	return &flux{client: cluster, manager: manager, declared: declared}, nil
}

func (f *flux) objects() []*unstructured.Unstructured { return f.declared }

func (f *flux) cluster() client.Client { return f.client }

func (f *flux) apply(ctx context.Context) (map[string]string, error) {
	// A controller reads its source anew each time, and the library changes what it is given.
	objects := make([]*unstructured.Unstructured, 0, len(f.declared))
	for _, object := range f.declared {
		objects = append(objects, object.DeepCopy())
	}
	if err := normalize.UnstructuredList(objects); err != nil {
		return nil, fmt.Errorf("normalize: %w", err)
	}
	changes, err := f.manager.ApplyAllStaged(ctx, objects, fluxOptions())
	if err != nil {
		return nil, err
	}
	actions := map[string]string{}
	for _, change := range changes.Entries {
		actions[change.ObjMetadata.GroupKind.Kind+"/"+change.ObjMetadata.Name] = change.Action.String()
	}
	return actions, nil
}

func fluxOptions() ssa.ApplyOptions {
	options := ssa.DefaultApplyOptions()
	options.ExclusionSelector = map[string]string{
		fluxGroup + "/reconcile": "disabled",
		fluxGroup + "/ssa":       "Ignore",
	}
	options.IfNotPresentSelector = map[string]string{fluxGroup + "/ssa": "IfNotPresent"}
	options.ForceSelector = map[string]string{fluxGroup + "/force": "enabled"}
	options.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{
			corev1.LastAppliedConfigAnnotation,
			"kustomize.toolkit.fluxcd.io/checksum",
			"fluxcd.io/sync-checksum",
		},
		Labels: []string{"fluxcd.io/sync-gc-mark"},
		// Names are prefixes: kubectl-patch, kubectl-edit and kubectl-client-side-apply are taken over too.
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: fluxController, OperationType: metav1.ManagedFieldsOperationUpdate},
		},
		Exclusions: map[string]string{fluxGroup + "/ssa": "Merge"},
	}
	return options
}
