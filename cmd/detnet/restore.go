package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/cmd/detnet/text"
	"github.com/detnet/detnet/controller/netpol"
	"github.com/detnet/detnet/restore"
)

func newRestoreCommand() *cobra.Command {
	var namespace, output, secretsOf string
	var dryRun, networkPolicies bool
	var at cluster
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Put back what detnet changed: limits, templates, marks of nodes",
		Long: `Put back what detnet changed: the limits that pods were admitted with, the templates
of workloads (which replaces their pods), and the taints, resources and notes of nodes, the
last not with --namespace.

A controller that enforces moves them again: set its mode to observe or off first.
Where detnet guards its annotations, this takes an identity that the guard trusts:
one that may update pods/detnet in all namespaces, as cluster-admin and the ClusterRole
detnet-admin may.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dryRun && (networkPolicies || secretsOf != "") {
				return misuse("--network-policies and --secrets-of delete, and can't be tried with --dry-run")
			}
			client, err := at.connect()
			if err != nil {
				return err
			}
			if err := exists(cmd.Context(), client, "--namespace", namespace, allNamespaces); err != nil {
				return err
			}
			if err := exists(cmd.Context(), client, "--secrets-of", secretsOf, withSecrets); err != nil {
				return err
			}
			report := func(c restore.Change) {
				if output == "json" {
					// A write that fails here fails for the next pod too, and
					// must not keep it from being restored.
					_ = json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"object": c.Object, "from": c.From, "to": c.To})
					return
				}
				fmt.Fprintf(text.Plain(cmd.OutOrStdout()), "%s: %s → %s\n", c.Object, cmp.Or(c.From, "none"), cmp.Or(c.To, "none"))
			}
			changes, unreadable := restore.Find(cmd.Context(), client, namespace)
			if len(changes) == 0 && unreadable == nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "nothing is left to restore")
			}
			if dryRun {
				for _, c := range changes {
					report(c)
				}
				return unreadable
			}
			errs := []error{unreadable, restore.Apply(cmd.Context(), changes, report)}
			if networkPolicies {
				errs = append(errs, removePolicies(cmd, client, namespace, output))
			}
			if secretsOf != "" {
				errs = append(errs, removeSecrets(cmd, client, secretsOf, output))
			}
			return errors.Join(errs...)
		},
	}
	at.addFlags(cmd)
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "only this `namespace`; default all")
	cmd.Flags().BoolVar(&networkPolicies, "network-policies", false, "also delete the CiliumNetworkPolicies that detnet made, as uninstalling does")
	cmd.Flags().StringVar(&secretsOf, "secrets-of", "", "also delete the Secrets with detnet's keys in this `namespace`, as uninstalling does")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would change")
	cmd.Flags().VarP(format(&output, "text", "json"), "output", "o", "text or json")
	return cmd
}

// exists refuses a namespace that is not there, before anything is done, as one in which
// nothing is to be put back looks; instead tells of those that are. Who may not read
// namespaces is believed.
func exists(ctx context.Context, client kubernetes.Interface, flag, namespace string, instead func(context.Context, kubernetes.Interface) string) error {
	if namespace == "" {
		return nil
	}
	if _, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		return misuse("restore %s %s: there is no such namespace, and nothing was restored: %s", flag, namespace, instead(ctx, client))
	}
	return nil
}

// allNamespaces says which there are.
func allNamespaces(ctx context.Context, client kubernetes.Interface) string {
	list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "want one of kubectl get namespaces"
	}
	const most = 12
	var first []string
	for _, ns := range list.Items[:min(len(list.Items), most)] {
		first = append(first, ns.Name)
	}
	return someOf(first, len(list.Items)-len(first))
}

// withSecrets says where detnet's Secrets are.
func withSecrets(ctx context.Context, client kubernetes.Interface) string {
	const gone = "a namespace that was deleted took its Secrets with it: leave the flag out then"
	in := map[string]bool{}
	for _, name := range keys {
		var list metav1.PartialObjectMetadataList // without the keys themselves
		raw, err := client.CoreV1().RESTClient().Get().Resource("secrets").Param("fieldSelector", "metadata.name="+name).
			SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").DoRaw(ctx)
		if err = errors.Join(err, json.Unmarshal(raw, &list)); err != nil {
			return "want the one that detnet was installed in; " + gone
		}
		for _, secret := range list.Items {
			in[secret.Namespace] = true
		}
	}
	if len(in) == 0 {
		return "no namespace has Secrets with detnet's keys; " + gone
	}
	return someOf(sortedKeys(in), 0) + ", which have Secrets with detnet's keys; " + gone
}

// keys are the Secrets that hold any, whoever issues them.
var keys = []string{"detnet-webhook-tls", "detnet-webhook-tls-ca", "detnet-agent-tls", "detnet-controller-tls", "detnet-stamp-key"}

// removeSecrets deletes what may be left of them.
func removeSecrets(cmd *cobra.Command, client kubernetes.Interface, namespace, output string) error {
	var errs []error
	left := 0
	for _, name := range keys {
		switch err := client.CoreV1().Secrets(namespace).Delete(cmd.Context(), name, metav1.DeleteOptions{}); {
		case err == nil:
			left++
			deleted(cmd, output, "Secret "+namespace+"/"+name)
		case !apierrors.IsNotFound(err):
			errs = append(errs, fmt.Errorf("delete Secret %s/%s: %w", namespace, name, err))
		}
	}
	if left == 0 && errs == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "--secrets-of %s: no Secret with detnet's keys was there\n", namespace)
	}
	return errors.Join(errs...)
}

// removePolicies deletes what the webhook made for workloads.
func removePolicies(cmd *cobra.Command, client kubernetes.Interface, namespace, output string) error {
	return netpol.RemoveAll(cmd.Context(), client, namespace, func(namespace, name string) {
		deleted(cmd, output, "CiliumNetworkPolicy "+namespace+"/"+name)
	})
}

func deleted(cmd *cobra.Command, output, object string) {
	if output == "json" {
		_ = json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"deleted": object})
		return
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: deleted\n", object)
}
