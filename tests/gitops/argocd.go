package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/fluxcd/pkg/ssa/utils"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/csaupgrade"
	"k8s.io/client-go/util/retry"
	kubectlapply "k8s.io/kubectl/pkg/cmd/apply"
	kubectldelete "k8s.io/kubectl/pkg/cmd/delete"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What follows does what gitops-engine 3.6.1 does: pkg/sync/sync_context.go (applyObject, performCSAUpgradeMigration)
// and pkg/utils/kube/resource_ops.go (ApplyResource, newApplyOptions), with the managers that argo-cd 3.6.1 passes from
// controller/sync.go.
const (
	argoController = "argocd-controller"
	// Whose client-side applies are migrated unless the Application names another manager.
	argoMigrated = "kubectl-client-side-apply"
	// The Application that the objects belong to.
	argoApplication = "services"
)

// argoOptions are an Application's sync options.
type argoOptions struct {
	serverSide  bool
	noMigration bool
	// ignored are fields such as spec.state, of ignoreDifferences with RespectIgnoreDifferences=true.
	ignored []string
}

type argo struct {
	options   argoOptions
	client    client.Client
	dynamic   dynamic.Interface
	factory   cmdutil.Factory
	namespace string
	declared  []*unstructured.Unstructured
}

func newArgo(config *rest.Config, where target, manifest []byte, options argoOptions) (*argo, error) {
	cluster, err := client.New(config, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client: %w", err)
	}
	declared, err := utils.ReadObjects(bytes.NewReader(manifest))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	for _, object := range declared {
		object.SetNamespace(where.namespace)
		track(object)
	}
	flags := genericclioptions.NewConfigFlags(true)
	flags.KubeConfig = &where.kubeconfig
	flags.Namespace = &where.namespace
	return &argo{
		options:   options,
		client:    cluster,
		dynamic:   dynamicClient,
		factory:   cmdutil.NewFactory(cmdutil.NewMatchVersionFlags(flags)),
		namespace: where.namespace,
		declared:  declared,
	}, nil
}

// track adds the annotation by which Argo CD knows its objects.
func track(object *unstructured.Unstructured) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	kind := object.GroupVersionKind()
	annotations["argocd.argoproj.io/tracking-id"] = fmt.Sprintf("%s:%s/%s:%s/%s",
		argoApplication, kind.Group, kind.Kind, object.GetNamespace(), object.GetName())
	object.SetAnnotations(annotations)
}

func (a *argo) objects() []*unstructured.Unstructured { return a.declared }

func (a *argo) cluster() client.Client { return a.client }

func (a *argo) apply(ctx context.Context) (map[string]string, error) {
	actions := map[string]string{}
	for _, declared := range a.declared {
		object, err := a.withIgnored(ctx, declared)
		if err != nil {
			return nil, err
		}
		if a.options.serverSide && !a.options.noMigration {
			if err := a.migrate(ctx, object); err != nil {
				return nil, fmt.Errorf("migrate %s: %w", object.GetName(), err)
			}
		}
		action, err := a.kubectlApply(object)
		if err != nil {
			return nil, err
		}
		actions[object.GetKind()+"/"+object.GetName()] = action
	}
	return actions, nil
}

// withIgnored is the object with the live values of the ignored fields, as argo-cd's normalizeTargetResources makes it.
// A controller takes them from its last comparison, which may be older than a director's latest word.
func (a *argo) withIgnored(
	ctx context.Context, declared *unstructured.Unstructured,
) (*unstructured.Unstructured, error) {
	object := declared.DeepCopy()
	if len(a.options.ignored) == 0 {
		return object, nil
	}
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(declared.GroupVersionKind())
	err := a.client.Get(ctx, client.ObjectKeyFromObject(declared), live)
	if apierrors.IsNotFound(err) {
		return object, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", declared.GetName(), err)
	}
	for _, field := range a.options.ignored {
		path := strings.Split(field, ".")
		unstructured.RemoveNestedField(object.Object, path...)
		value, found, err := unstructured.NestedFieldCopy(live.Object, path...)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		if err := unstructured.SetNestedField(object.Object, value, path...); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// migrate gives the fields of client-side applies to Argo CD's manager (performCSAUpgradeMigration).
func (a *argo) migrate(ctx context.Context, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := a.client.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	resource := a.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace())
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		fresh, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !needsMigration(fresh) {
			return nil
		}
		patch, err := csaupgrade.UpgradeManagedFieldsPatch(fresh, sets.New(argoMigrated), argoController)
		if err != nil || patch == nil {
			return err
		}
		_, err = resource.Patch(ctx, object.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{})
		return err
	})
}

func needsMigration(object *unstructured.Unstructured) bool {
	for _, entry := range object.GetManagedFields() {
		if entry.Manager == argoMigrated && entry.Operation == metav1.ManagedFieldsOperationUpdate {
			return true
		}
	}
	return false
}

// kubectlApply is kubectl's own apply with Argo CD's options (newApplyOptions). It returns the last word of what
// kubectl prints: created, configured, unchanged or serverside-applied.
func (a *argo) kubectlApply(object *unstructured.Unstructured) (string, error) {
	file, err := manifestFile(object)
	if err != nil {
		return "", err
	}
	defer os.Remove(file)
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errOut}
	options, err := a.applyOptions(streams, file)
	if err != nil {
		return "", err
	}
	if err := options.Run(); err != nil {
		return "", err
	}
	// kubectl prints a failed migration as a warning and goes on.
	if warning := strings.TrimSpace(errOut.String()); strings.Contains(warning, "migrat") {
		return "", fmt.Errorf("kubectl warns: %s", warning)
	}
	words := strings.Fields(out.String())
	if len(words) == 0 {
		return "", fmt.Errorf("kubectl apply of %s printed nothing", object.GetName())
	}
	return words[len(words)-1], nil
}

func manifestFile(object *unstructured.Unstructured) (string, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return "", err
	}
	file, err := os.CreateTemp("", "manifest-")
	if err != nil {
		return "", err
	}
	_, err = file.Write(text)
	if closing := file.Close(); err == nil {
		err = closing
	}
	return file.Name(), err
}

func (a *argo) applyOptions(streams genericiooptions.IOStreams, file string) (*kubectlapply.ApplyOptions, error) {
	flags := kubectlapply.NewApplyFlags(streams)
	options := &kubectlapply.ApplyOptions{
		IOStreams:         streams,
		VisitedUids:       sets.Set[types.UID]{},
		VisitedNamespaces: sets.Set[string]{},
		Recorder:          genericclioptions.NoopRecorder{},
		PrintFlags:        flags.PrintFlags,
		Overwrite:         true,
		OpenAPIPatch:      true,
		ServerSideApply:   a.options.serverSide,
		DynamicClient:     a.dynamic,
		OpenAPIGetter:     a.factory,
		DryRunStrategy:    cmdutil.DryRunNone,
		FieldManager:      argoController,
		Builder:           a.factory.NewBuilder(),
		Namespace:         a.namespace,
		ForceConflicts:    a.options.serverSide,
	}
	var err error
	if options.DeleteOptions, err = kubectldelete.NewDeleteFlags("").ToOptions(a.dynamic, streams); err != nil {
		return nil, err
	}
	options.DeleteOptions.Filenames = []string{file}
	if options.Validator, err = a.factory.Validator(metav1.FieldValidationStrict); err != nil {
		return nil, err
	}
	if options.Mapper, err = a.factory.ToRESTMapper(); err != nil {
		return nil, err
	}
	options.ToPrinter = func(operation string) (printers.ResourcePrinter, error) {
		options.PrintFlags.NamePrintFlags.Operation = operation
		return options.PrintFlags.ToPrinter()
	}
	return options, options.Validate()
}
