package nodelet

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// credentials reads the pod's image pull secrets.
func credentials(a Assignment) ([]Credential, error) {
	var out []Credential
	for _, ref := range a.Pod.Spec.ImagePullSecrets {
		secret := a.Secrets[ref.Name]
		if secret == nil {
			continue // a kubelet tries without, and the registry answers
		}
		raw, wrapped := secret.Data[corev1.DockerConfigJsonKey], true
		if raw == nil {
			raw, wrapped = secret.Data[corev1.DockerConfigKey], false
		}
		if raw == nil {
			continue
		}
		creds, err := parseDockerConfig(raw, wrapped)
		if err != nil {
			return nil, fmt.Errorf("image pull secret %q: %w", ref.Name, err)
		}
		out = append(out, creds...)
	}
	return out, nil
}

type dockerAuth struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"` // base64 of user:password
	IdentityToken string `json:"identitytoken"`
}

func parseDockerConfig(raw []byte, wrapped bool) ([]Credential, error) {
	var auths map[string]dockerAuth
	if wrapped {
		var config struct {
			Auths map[string]dockerAuth `json:"auths"`
		}
		if err := json.Unmarshal(raw, &config); err != nil {
			return nil, err
		}
		auths = config.Auths
	} else if err := json.Unmarshal(raw, &auths); err != nil {
		return nil, err
	}
	var out []Credential
	for registry, auth := range auths {
		if auth.Username == "" && auth.Auth != "" {
			plain, err := base64.StdEncoding.DecodeString(auth.Auth)
			if err != nil {
				return nil, fmt.Errorf("registry %s: %w", registry, err)
			}
			auth.Username, auth.Password, _ = strings.Cut(string(plain), ":")
		}
		host := strings.TrimPrefix(strings.TrimPrefix(registry, "https://"), "http://")
		host, _, _ = strings.Cut(host, "/")
		out = append(out, Credential{Registry: host, Username: auth.Username, Password: auth.Password, Token: auth.IdentityToken})
	}
	slices.SortFunc(out, func(a, b Credential) int { return strings.Compare(a.Registry, b.Registry) })
	return out, nil
}
