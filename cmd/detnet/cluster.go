package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// cluster says which cluster a command talks to, as kubectl is told, and where detnet is in it.
type cluster struct {
	kubeconfig, context string
	install             string // its namespace
}

func (c *cluster) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.kubeconfig, "kubeconfig", "", "`file` that says how to reach the cluster; default those of KUBECONFIG, or ~/.kube/config")
	cmd.Flags().StringVar(&c.context, "context", "", "`name` of the context in it; default the current one")
}

// installFlag is of where detnet is. --namespace is, as with kubectl, where the pods are that
// a command is about.
const installFlag = "detnet-namespace"

func (c *cluster) addInstallFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.install, installFlag, "detnet", "`namespace` that detnet is installed in")
}

func (c *cluster) rules() *clientcmd.ClientConfigLoadingRules {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath, rules.WarnIfAllMissing = c.kubeconfig, false
	return rules
}

func (c *cluster) client() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{CurrentContext: c.context}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(c.rules(), overrides)
}

// namespace is the one that the context names, "default" if it names none.
func (c *cluster) namespace() string {
	if name, _, err := c.client().Namespace(); err == nil {
		return name
	}
	return metav1.NamespaceDefault // whoever asks the cluster learns what is wrong with it
}

// config is of the cluster that kubectl would talk to; in a pod without a kubeconfig it is
// the pod's own.
func (c *cluster) config() (*rest.Config, error) {
	config, err := c.client().ClientConfig()
	raw, _ := c.client().RawConfig() // what can't be read, err says
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, misuse("find the cluster: %s names none: give the kubeconfig by --kubeconfig or KUBECONFIG", strings.Join(c.rules().GetLoadingPrecedence(), ", "))
	case err != nil && c.context != "" && raw.Contexts != nil && raw.Contexts[c.context] == nil:
		return nil, misuse("find the cluster: --context %s: there is no such context in %s: want %s", c.context, strings.Join(c.rules().GetLoadingPrecedence(), ", "), oneOf(sortedKeys(raw.Contexts)))
	case err != nil:
		return nil, misuse("find the cluster: %w: give the kubeconfig by --kubeconfig or KUBECONFIG", err)
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return reaching{next, config.Host} })
	config.QPS = -1 // the API server's own priority and fairness bound what a client may ask
	return config, nil
}

// reaching says of a request that nobody answers, or whose sender is nobody, what to look at,
// whichever command makes it.
type reaching struct {
	next http.RoundTripper
	host string
}

func (r reaching) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := r.next.RoundTrip(request)
	switch {
	case err != nil && request.Context().Err() == nil:
		return nil, fmt.Errorf("reach the cluster at %s: %w: see that the kubeconfig (--kubeconfig, --context) is of the cluster that is meant, and that its API server can be reached from here", r.host, err)
	case err == nil && answer.StatusCode == http.StatusUnauthorized:
		return nil, errors.Join(fmt.Errorf("the cluster at %s does not take the credentials of the kubeconfig's user (401 Unauthorized): renew them, or name another context with --context", r.host), answer.Body.Close())
	}
	return answer, err
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
