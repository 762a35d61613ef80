package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/detnet/detnet/internal/program"
)

// What a command does not take it refuses, before it does anything, and ends with the code for
// that, as 1 may say that something was found: an argument that is left over is a flag or a name
// that was mistyped.
func TestMisuseIsRefused(t *testing.T) {
	for _, line := range []string{
		"surplus", "doctor surplus", "explain ns/pod surplus", "import file surplus", "record surplus",
		"replay file surplus", "restore surplus", "simulate surplus", "top surplus", "reflect surplus", "probe",
		"policy surplus", "policy test surplus", "policy check surplus", "policy shadow surplus",
		"nosuch --help", "-h nosuch", "nosuch --version", "-v nosuch", "policy nosuch --help", "policy --help nosuch", "policy -d dir -h nosuch", "completion nosuch --help", "help nosuch --help",
		"nosuch", "policy nosuch", "completion nosuch", "completion nosuch bash", "completion bash zsh",
		"doctor -n detnet", "record -n detnet", "policy shadow -n detnet", "policy eval -n detnet file",
		"explain -n a b/c", "explain /", "explain a/", "explain /a", "explain a/b/c", "explain pod/",
		"doctor -o xml", "explain ns/pod -o xml", "import file --only x", "policy eval -o xml file", "replay file -o xml",
		"restore -o xml", "top -o xml", "top --limit -1", "restore --dry-run --network-policies", "policy diff",
		"simulate --law nosuch", "simulate --seeds 0", "simulate --limiter x", "simulate --scenario nosuch",
		"help nosuch", "help policy nosuch", "top --watch -1s", "top --kubeconfig /nosuch", "top --context nosuch", "doctor --kubeconfig /nosuch",
		"policy shadow --kubeconfig /nosuch", "policy diff --cluster --kubeconfig /nosuch", "policy check --cluster --kubeconfig /nosuch", "restore --kubeconfig /nosuch",
		"--bogus", "completion bash surplus", "completion bash --bogus", "simulate --bogus", "policy test --bogus",
	} {
		root := newRootCommand()
		root.SetArgs(strings.Fields(line))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		if err := root.ExecuteContext(t.Context()); exitCode(err) != program.Misuse {
			t.Errorf("detnet %s: %v ends with %d, want %d", line, err, exitCode(err), program.Misuse)
		}
	}
}

// Who names a command that is not there is told of those that are; who names detnet's own
// namespace as kubectl names that of pods, which flag it is.
func TestMisuseSaysWhatThereIs(t *testing.T) {
	for line, want := range map[string]string{
		"nosuch":                    `detnet: there is no command "nosuch": want completion, doctor, explain, help,`,
		"policy tset":               `detnet policy: there is no command "tset": want check, diff, eval, explain, shadow or test`,
		"completion nosuch":         `detnet completion: there is no command "nosuch": want bash, fish, powershell or zsh`,
		"help policy tset":          `there is no command "policy tset": detnet policy has check, diff, eval, explain, shadow or test`,
		"doctor -n detnet":          "detnet doctor: unknown shorthand flag: 'n' in -n: it is about no pods; the namespace that detnet is installed in is --detnet-namespace",
		"record --namespace=detnet": "detnet record: unknown flag: --namespace: it is about no pods; the namespace that detnet is installed in is --detnet-namespace",
		"simulate surplus":          `detnet simulate takes no argument, not "surplus"; usage: detnet simulate [flags]`,
		"completion bash surplus":   `detnet completion bash takes no argument, not "surplus"`,
		"policy eval":               "detnet policy eval: requires at least 1 arg(s), only received 0; usage: detnet policy eval FILE...",
		"policy eval /nosuch":       "read manifest /nosuch: open /nosuch: no such file",
		"policy test -d /nosuch":    "read policy directory /nosuch: no such file",
		"replay file --law nosuch":  `invalid argument "nosuch" for "--law" flag: want adaptive, aimd or step`,
		"top --bogus":               "detnet top: unknown flag: --bogus: see detnet top --help",
		"policy test -n x":          "detnet policy test: unknown shorthand flag: 'n' in -n: see detnet policy test --help",
		"top -o xml":                `detnet top: invalid argument "xml" for "-o, --output" flag: want text or json`,
		"explain -n a b/c":          `explain "b/c": --namespace a is another namespace: give one of them`,
	} {
		_, err := runRoot(strings.Fields(line)...)
		if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != program.Misuse {
			t.Errorf("detnet %s: %v lacks %q", line, err, want)
		}
	}
}

// The version is the one that the linker was told, as in detnet's other programs; groups still
// say in their help what they have.
func TestVersionAndHelp(t *testing.T) {
	for line, want := range map[string]string{
		"--version":     "detnet version dev\n",
		"-v":            "detnet version dev\n",
		"--help":        "policy ",
		"policy --help": "check ",
		"policy -h":     "-h, --help ",
		"help policy":   "-h, --help ",
		"policy":        "check ",
	} {
		out, err := runRoot(strings.Fields(line)...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("detnet %s: %v, and %q lacks %q", line, err, out, want)
		}
	}
}

// A letter means one thing in all commands: -n is, as with kubectl, the namespace of the pods.
func TestAShorthandMeansOneThing(t *testing.T) {
	means := map[string]string{}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Shorthand == "" {
				return
			}
			if other := means[f.Shorthand]; other != "" && other != f.Name {
				t.Errorf("%s: -%s is --%s, and --%s elsewhere", c.CommandPath(), f.Shorthand, f.Name, other)
			}
			means[f.Shorthand] = f.Name
		})
		for _, each := range c.Commands() {
			visit(each)
		}
		if f := c.Flags().Lookup("namespace"); f != nil && (f.Shorthand != "n" || strings.Contains(f.Usage, "install")) {
			t.Errorf("%s: --namespace, -%s: %s", c.CommandPath(), f.Shorthand, f.Usage)
		}
	}
	visit(newRootCommand())
}

// Every command says which arguments it takes: cobra's default is any.
func TestCommandsSayTheirArguments(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Args == nil {
			t.Errorf("%s takes whatever it is given", c.CommandPath())
		}
		for _, each := range c.Commands() {
			visit(each)
		}
	}
	visit(newRootCommand())
}
