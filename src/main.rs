//! The operator's command line.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use kube::{Client, Config};
use memorialstream_operator::adapters::kubernetes::{OptIn, for_watches};
use memorialstream_operator::api::crd::custom_resource_definition;
use memorialstream_operator::api::reference;
use memorialstream_operator::lifecycle::plan::Timings;
use memorialstream_operator::run::{self, Settings};
use memorialstream_operator::service::credentials::{AllowedEndpoints, DefaultSecret};
use memorialstream_operator::service::pod::PodTemplate;
use memorialstream_operator::token;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(version, about = "Takes memorial services live")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator.
    Run(RunArguments),
    /// Print the CustomResourceDefinition as YAML.
    Crd {
        /// Print the API reference as Markdown instead.
        #[arg(long)]
        reference: bool,
    },
    /// Print LiveKit's URL and a token with which a declared camera joins.
    Token(TokenArguments),
}

#[derive(Args)]
struct RunArguments {
    #[command(flatten)]
    secret: SecretArguments,
    /// The compositor's image.
    #[arg(long, env = "COMPOSITOR_IMAGE")]
    compositor_image: String,
    /// When compositor images are pulled: Always, IfNotPresent or Never.
    #[arg(long, env = "COMPOSITOR_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    compositor_image_pull_policy: String,
    /// The ClusterRole that a RoleBinding gives in each namespace where the operator may use Secrets.
    #[arg(long, env = "SECRETS_CLUSTER_ROLE", default_value = "memorialstream-namespace-secrets")]
    secrets_cluster_role: String,
    /// The operator's ServiceAccount, in the operator's namespace.
    #[arg(long, env = "SERVICE_ACCOUNT", default_value = "memorialstream")]
    service_account: String,
    /// Names this cluster in markers at the providers; absent: the UID of the namespace kube-system.
    #[arg(long, env = "CLUSTER_ID")]
    cluster_id: Option<String>,
    /// Seconds after a lost answer to a creation at Mux, before a search that finds nothing is believed.
    #[arg(long, env = "STREAM_GRACE_SECONDS", default_value_t = 35)]
    stream_grace_seconds: u64,
    /// Seconds after a lost answer to a start of an egress, before a search that finds nothing is believed.
    #[arg(long, env = "EGRESS_GRACE_SECONDS", default_value_t = 100)]
    egress_grace_seconds: u64,
}

#[derive(Args)]
struct SecretArguments {
    /// The Secret with credentials that is used when a MemorialStream names none.
    #[arg(long, env = "CREDENTIALS_SECRET", default_value = "memorialstream-credentials")]
    credentials_secret: String,
    /// The namespace of that Secret: the operator's own.
    #[arg(long, env = "POD_NAMESPACE", default_value = "memorialstream-system")]
    operator_namespace: String,
    /// Hosts to which MUX_BASE_URL, MUX_RTMP_URL, MUX_PLAYBACK_BASE_URL and LIVEKIT_URL of other Secrets may lead: host,
    /// host:port, *.suffix or * for all, with commas. What the operator's own Secret names is allowed too.
    #[arg(long, env = "ALLOWED_ENDPOINTS", default_value = AllowedEndpoints::DEFAULT, value_parser = AllowedEndpoints::parse)]
    allowed_endpoints: AllowedEndpoints,
}

impl From<SecretArguments> for DefaultSecret {
    fn from(arguments: SecretArguments) -> Self {
        Self {
            namespace: arguments.operator_namespace,
            name: arguments.credentials_secret,
            allowed_endpoints: arguments.allowed_endpoints,
        }
    }
}

#[derive(Args)]
struct TokenArguments {
    /// A camera that the object declares.
    #[arg(long)]
    camera: String,
    /// The MemorialStream's name.
    object: String,
    /// Its namespace; absent: the one of the kubeconfig's context.
    #[arg(long, short)]
    namespace: Option<String>,
    /// For how long a device may join with it, in hours, at most 24.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=24))]
    hours: u64,
    #[command(flatten)]
    secret: SecretArguments,
}

#[tokio::main]
async fn main() -> ExitCode {
    match carry_out(CommandLine::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(command: Command) -> anyhow::Result<()> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider was installed before ring");
    }
    match command {
        Command::Crd { reference: true } => {
            print!("{}", reference::markdown().context("render the API reference")?);
            Ok(())
        }
        Command::Crd { reference: false } => {
            print!("{}", serde_yaml::to_string(&custom_resource_definition()).context("render the CRD")?);
            Ok(())
        }
        Command::Run(arguments) => {
            let filter =
                tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
            // At `warn` kube's client quotes answers whole that it cannot read, and logs hold no objects.
            let filter = filter.add_directive("kube_client::client=error".parse()?);
            let ansi = std::io::stdout().is_terminal();
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).init();
            let config = Config::infer().await.context(REACH)?;
            let watches = Client::try_from(for_watches(config.clone()))?;
            let client = Client::try_from(config)?;
            run::run(client, watches, settings(arguments)).await
        }
        Command::Token(arguments) => {
            let hours = Duration::from_secs(arguments.hours * 3600);
            let client = client().await?;
            let namespace = arguments.namespace.unwrap_or_else(|| client.default_namespace().to_owned());
            let default: DefaultSecret = arguments.secret.into();
            let token = token::camera_token(
                client,
                &default,
                &namespace,
                &arguments.object,
                &arguments.camera,
                hours,
            )
            .await?;
            println!("LIVEKIT_URL={}\nLIVEKIT_TOKEN={}", token.url, token.token.reveal());
            Ok(())
        }
    }
}

const REACH: &str = "reach the cluster: set KUBECONFIG, or run inside it";

async fn client() -> anyhow::Result<Client> {
    Client::try_default().await.context(REACH)
}

fn settings(arguments: RunArguments) -> Settings {
    Settings {
        opt_in: OptIn {
            cluster_role: arguments.secrets_cluster_role,
            service_account: format!("{}:{}", arguments.secret.operator_namespace, arguments.service_account),
        },
        default_secret: arguments.secret.into(),
        pod_template: PodTemplate {
            image: arguments.compositor_image,
            image_pull_policy: arguments.compositor_image_pull_policy,
        },
        cluster_id: arguments.cluster_id,
        timings: Timings {
            stream_grace: Duration::from_secs(arguments.stream_grace_seconds),
            egress_grace: Duration::from_secs(arguments.egress_grace_seconds),
            ..Timings::default()
        },
    }
}
