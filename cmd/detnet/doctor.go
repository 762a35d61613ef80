package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/cmd/detnet/text"
	"github.com/detnet/detnet/doctor"
)

func newDoctorCommand() *cobra.Command {
	var at cluster
	var install doctor.Install
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine an install of detnet",
		Long:  "Examine an install of detnet in the current cluster.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := at.config()
			if err != nil {
				return err
			}
			c, err := client.New(config, client.Options{})
			if err != nil {
				return fmt.Errorf("connect to %s: %w", config.Host, err)
			}
			asking, err := kubernetes.NewForConfig(config)
			if err != nil {
				return fmt.Errorf("connect to %s: %w", config.Host, err)
			}
			if err := reach(cmd.Context(), asking); err != nil {
				return err
			}
			install.Namespace = at.install
			findings := doctor.Examine(cmd.Context(), c, install)
			findings = append(findings, doctor.AskWebhook(cmd.Context(), asking, install.Namespace)...)
			findings = append(findings, doctor.AskController(cmd.Context(), asking, install.Namespace)...)
			return reportFindings(cmd.OutOrStdout(), output, findings)
		},
	}
	at.addFlags(cmd)
	at.addInstallFlag(cmd)
	cmd.Flags().StringVar(&install.Trial, "trial-namespace", "default", "namespace in which a pod is created on dry run")
	cmd.Flags().VarP(format(&output, "text", "json"), "output", "o", "text or json")
	return answers(cmd, "a check found a problem")
}

// reach reports that the API server does not answer, of which every check would tell anew.
// One that answers that it says nothing to us has been reached.
func reach(ctx context.Context, c kubernetes.Interface) error {
	var answered apierrors.APIStatus
	err := c.CoreV1().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	if err == nil || errors.As(err, &answered) {
		return nil
	}
	return fmt.Errorf("ask the API server: %w", err)
}

// reportFindings returns an error where there is a problem.
func reportFindings(w io.Writer, output string, findings []doctor.Finding) error {
	problems := 0
	for _, f := range findings {
		if f.Problem != "" {
			problems++
		}
	}
	if output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(findings); err != nil {
			return fmt.Errorf("write the findings: %w", err)
		}
	} else {
		w = text.Plain(w)
		for _, f := range findings {
			if f.Problem == "" {
				fmt.Fprintf(w, "ok       %s\n", f.Check)
				for _, note := range f.Notes {
					fmt.Fprintf(w, "note     %s\n", note)
				}
				continue
			}
			fmt.Fprintf(w, "PROBLEM  %s: %s\n         %s\n", f.Check, f.Problem, f.Advice)
		}
	}
	if problems > 0 {
		return found("%d of %d checks found a problem", problems, len(findings))
	}
	return nil
}
