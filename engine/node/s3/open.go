package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/floefs/floe/engine/walrus"
)

// Options are the settings of a Store; nil and zero mean the defaults.
type Options struct {
	Connect time.Duration // for a connection and its handshake: default 5 s
	Answer  time.Duration // for the beginning of an answer, after a body is stored, or until more of a body is taken: default 60 s
	PerHost int           // connections at a time: default 16

	// Expect says which slivers of a blob a store is expected to hold, stored
	// together: then reads need no list to find them. Default none.
	Expect func(id walrus.BlobID, params walrus.Params) []walrus.SliverID

	// Dial makes connections, to keep them from networks they should not lead
	// to: default a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Proxy says which proxy to take: default none.
	Proxy func(*http.Request) (*url.URL, error)
}

func (o *Options) defaults() {
	if o.Connect == 0 {
		o.Connect = 5 * time.Second
	}
	if o.Answer == 0 {
		o.Answer = 60 * time.Second
	}
	if o.PerHost == 0 {
		o.PerHost = 16
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: o.Connect}).DialContext
	}
}

// Open returns the store at s3://BUCKET/PREFIX. The endpoint, the region and
// the credentials are those that AWS's own tools would use: from the variables
// AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE,
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_CA_BUNDLE
// and the files ~/.aws/config and ~/.aws/credentials, or from the machine it
// runs on. An endpoint that is named gets the bucket in the path and needs no
// region.
//
// Open asks nothing of the service; see Check.
func Open(ctx context.Context, address string, opts *Options) (*Store, error) {
	bucket, prefix, err := parse(address)
	if err != nil {
		return nil, err
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	o.defaults()
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithHTTPClient(client(o)),
		config.WithLogger(logging.Nop{}),
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired))
	if err != nil {
		return nil, fmt.Errorf("%s: reading the settings of AWS: %w", address, err)
	}
	s := &Store{bucket: bucket, prefix: prefix, answer: o.Answer, expect: o.Expect, views: make(map[walrus.BlobID]*view)}
	s.api = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.Retryer = aws.NopRetryer{} // package blob retries, and knows other nodes to ask
		if o.BaseEndpoint != nil {
			s.at = *o.BaseEndpoint
			o.UsePathStyle = true
			if o.Region == "" {
				o.Region = "us-east-1" // a word that signatures need
			}
		}
		// Settings may have added certificates to the transport, so it is
		// taken from there.
		b, ok := o.HTTPClient.(*awshttp.BuildableClient)
		if !ok {
			err = errors.New("internal error: the client of AWS's settings is of an unknown kind")
			return
		}
		t := b.GetTransport()
		s.close = t.CloseIdleConnections
		o.HTTPClient = &http.Client{
			Transport:     bounded{t},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
	if err != nil {
		return nil, err
	}
	if s.api.Options().Region == "" {
		return nil, fmt.Errorf("%s: neither a region nor an endpoint is known; set AWS_REGION, or AWS_ENDPOINT_URL", address)
	}
	if s.at != "" {
		u, err := url.Parse(s.at)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("AWS_ENDPOINT_URL is %q; it should be as https://HOST", clip(s.at))
		}
		s.at = u.Scheme + "://" + u.Host
	}
	return s, nil
}

// parse splits s3://BUCKET/PREFIX. The prefix returned is empty or ends in a
// slash.
func parse(address string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(address, "s3://")
	if !ok {
		return "", "", fmt.Errorf("%q is not as s3://BUCKET/PREFIX", address)
	}
	bucket, prefix, _ = strings.Cut(rest, "/")
	if len(bucket) < 3 || len(bucket) > 63 ||
		strings.Contains(bucket, "..") || strings.HasPrefix(bucket, ".") || strings.ContainsFunc(bucket, notInBucket) {
		return "", "", fmt.Errorf("%q: %q cannot be the name of a bucket", address, bucket)
	}
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return bucket, "", nil
	}
	for part := range strings.SplitSeq(prefix, "/") {
		if part == "" || part == "." || part == ".." {
			return "", "", fmt.Errorf("%q: a part of the prefix is empty, or is one dot or two", address)
		}
	}
	if len(prefix) > 512 || strings.ContainsFunc(prefix, notInPrefix) {
		return "", "", fmt.Errorf("%q: the prefix is too long, or holds other than letters, digits and !-_.*'()=+@ in its parts", address)
	}
	return bucket, prefix + "/", nil
}

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func notInBucket(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune(".-_", r) }
func notInPrefix(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("/!-_.*'()=+@", r) }
