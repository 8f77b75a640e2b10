package client

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/client-go/rest"
)

// fetch sends a request whose answer is JSON of ours, which no scheme knows, and decodes it into v. what
// names it in an error.
func fetch(ctx context.Context, request *rest.Request, what string, v any) error {
	result := request.SetHeader("Accept", "application/json").Do(ctx)
	// Error decodes a refusal's Status, which Raw and DoRaw leave undecoded.
	if err := result.Error(); err != nil {
		return err
	}
	raw, err := result.Raw()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%s: the server's answer: %w", what, err)
	}
	return nil
}
