package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// cluster says which cluster a command talks to, as kubectl is told.
type cluster struct{ kubeconfig, context string }

func (c *cluster) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.kubeconfig, "kubeconfig", "", "`file` that says how to reach the cluster; default those of KUBECONFIG, or ~/.kube/config")
	cmd.Flags().StringVar(&c.context, "context", "", "`name` of the context in it; default the current one")
}

// config is of the cluster that kubectl would talk to; in a pod without a kubeconfig it is
// the pod's own.
func (c *cluster) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath, rules.WarnIfAllMissing = c.kubeconfig, false
	overrides := &clientcmd.ConfigOverrides{CurrentContext: c.context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, misuse("find the cluster: %s names none: give the kubeconfig by --kubeconfig or KUBECONFIG", strings.Join(rules.GetLoadingPrecedence(), ", "))
	}
	if err != nil {
		return nil, misuse("find the cluster: %w", err)
	}
	config.QPS = -1 // the API server's own priority and fairness bound what a client may ask
	return config, nil
}

// connect returns a client of that cluster.
func (c *cluster) connect() (kubernetes.Interface, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return client, nil
}
