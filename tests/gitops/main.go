// Command gitops does to a cluster what GitOps controllers do, with the controllers' own libraries, so that the
// cluster tests can see what becomes of fields that Git does not have.
//
//	gitops flux apply   --kubeconfig K --namespace N -f FILE [--every 5s --for 10m]
//	gitops argocd apply … [--server-side] [--no-migration] [--ignore spec.state,spec.program]
//	gitops kstatus      --kubeconfig K --namespace N NAME
//	gitops kstatus      -f OBJECT.json
//	gitops versions
//
// FILE is what a Git repository has: YAML or JSON, one or more documents, "-" for standard input. OBJECT.json is one
// object as the API server returns it.
//
// `apply` prints one JSON document a line for each sync (type syncResult). With --every it syncs again and again until
// --for has passed or the process gets SIGTERM or SIGINT; a sync that fails is a line with "error", as a controller
// would log it and try again. The exit code is 1 when the last sync failed.
//
//   - flux: kustomize-controller 1.9.6 with its own apply library, github.com/fluxcd/pkg/ssa 0.76.2. What 1.10.1 (ssa
//     0.83.0, which needs Go 1.27) adds is off unless its operator lists managers for it.
//   - argocd: Argo CD 3.6.1. Its engine (github.com/argoproj/argo-cd/gitops-engine/v3) needs Go 1.27 and all of
//     k8s.io/kubernetes; what it calls for an apply are two packages, and they are called here with the arguments that
//     it gives them: k8s.io/kubectl/pkg/cmd/apply and k8s.io/client-go/util/csaupgrade. A controller applies what is
//     out of sync; here each sync applies.
//   - kstatus: github.com/fluxcd/cli-utils 1.2.3, the same one with which kustomize-controller 1.9.6 waits.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

const usage = "usage: gitops flux apply|argocd apply|kstatus|versions [flags]; the flags stand in main.go"

func main() {
	ctrllog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gitops:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		return errors.New(usage)
	}
	switch arguments[0] {
	case "flux", "argocd":
		if len(arguments) < 2 || arguments[1] != "apply" {
			return errors.New(usage)
		}
		return apply(ctx, arguments[0], arguments[2:])
	case "kstatus":
		return printStatus(ctx, arguments[1:])
	case "versions":
		return printVersions(os.Stdout)
	default:
		return errors.New(usage)
	}
}

// target is the cluster, namespace and file that every subcommand can name.
type target struct {
	kubeconfig string
	namespace  string
	file       string
}

func (t *target) flags(set *flag.FlagSet) {
	set.StringVar(&t.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig of the cluster")
	set.StringVar(&t.namespace, "namespace", "", "namespace of the objects")
	set.StringVar(&t.file, "f", "", "file with the objects, - for standard input")
}

func (t *target) config() (*rest.Config, error) {
	if t.kubeconfig == "" || t.namespace == "" {
		return nil, errors.New("--kubeconfig and --namespace are needed")
	}
	config, err := clientcmd.BuildConfigFromFlags("", t.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return config, nil
}

func (t *target) read() ([]byte, error) {
	if t.file == "" {
		return nil, errors.New("-f FILE is needed")
	}
	if t.file == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(t.file)
}

// apply runs the syncs of one tool.
func apply(ctx context.Context, tool string, arguments []string) error {
	set := flag.NewFlagSet(tool+" apply", flag.ContinueOnError)
	var where target
	where.flags(set)
	every := set.Duration("every", 0, "time between two syncs; 0 syncs once")
	length := set.Duration("for", 0, "how long to sync; 0 until a signal")
	var argo argoOptions
	if tool == "argocd" {
		set.BoolVar(&argo.serverSide, "server-side", false, "sync option ServerSideApply=true")
		set.BoolVar(&argo.noMigration, "no-migration", false, "sync option ClientSideApplyMigration=false")
		set.Func("ignore", "ignoreDifferences with RespectIgnoreDifferences=true, such as spec.state,spec.program",
			func(fields string) error { argo.ignored = strings.Split(fields, ","); return nil })
	}
	if err := set.Parse(arguments); err != nil {
		return err
	}
	if set.NArg() != 0 {
		return fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	config, err := where.config()
	if err != nil {
		return err
	}
	manifest, err := where.read()
	if err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	var tick syncer
	if tool == "flux" {
		tick, err = newFlux(config, where.namespace, manifest)
	} else {
		tick, err = newArgo(config, where, manifest, argo)
	}
	if err != nil {
		return err
	}
	if *length > 0 {
		limited, cancel := context.WithTimeout(ctx, *length)
		defer cancel()
		ctx = limited
	}
	return repeat(ctx, tick, *every, json.NewEncoder(os.Stdout))
}

// repeat syncs once, or every so often until ctx ends, and prints each result.
func repeat(ctx context.Context, tick syncer, every time.Duration, out *json.Encoder) error {
	for number := 1; ; number++ {
		// A sync that has begun is finished: a controller is not cut off in the middle either.
		results, err := sync(context.WithoutCancel(ctx), tick)
		if err != nil {
			results = append(results, syncResult{Error: err.Error()})
		}
		for _, result := range results {
			result.Sync = number
			if printing := out.Encode(result); printing != nil {
				return printing
			}
		}
		if every == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(every):
		}
	}
}

// printVersions names the libraries that this was built from.
func printVersions(out io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("built without module information")
	}
	versions := map[string]string{"go": info.GoVersion}
	for _, module := range info.Deps {
		switch module.Path {
		case "github.com/fluxcd/pkg/ssa", "github.com/fluxcd/cli-utils", "k8s.io/kubectl", "k8s.io/client-go":
			version := module.Version
			if module.Replace != nil {
				version = module.Replace.Version
			}
			versions[module.Path] = version
		}
	}
	return json.NewEncoder(out).Encode(versions)
}
