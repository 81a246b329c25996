//! The ARNs of targets and commands, parsed once.

use std::fmt;
use std::sync::Arc;

/// Why a text is not the ARN that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// Fewer than six parts, or no `arn` in front.
    #[error("an ARN has the form arn:PARTITION:iot:REGION:ACCOUNT:RESOURCE")]
    Form,
    /// Not a partition of AWS.
    #[error("the partition must be aws, or begin with aws- (aws-cn, aws-us-gov)")]
    Partition,
    /// Another service.
    #[error("the service must be iot")]
    Service,
    /// Not a Region code.
    #[error("the Region must be a code such as eu-central-1")]
    Region,
    /// The Region lies in another partition.
    #[error("this Region does not belong to this partition")]
    RegionOfOtherPartition,
    /// Not an account ID.
    #[error("the account must be 12 digits")]
    Account,
    /// Not a resource that commands run on.
    #[error("the target must be thing/NAME or client/ID")]
    Target,
    /// Not a command.
    #[error("the resource must be command/ID, the ID of 1 to 64 letters, digits, _ or -")]
    Command,
    /// A name longer than the API takes, or with control characters.
    #[error("the name must have 1 to 1024 bytes and no control characters")]
    Name,
}

/// A partition of AWS: `aws`, `aws-cn`, `aws-us-gov` and those that may follow.
pub type Partition<'a> = &'a str;

/// An account and a Region: what shares one quota, one set of credentials and one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The 12 digits of the account.
    pub account_id: Arc<str>,
    /// The Region's code.
    pub region: Arc<str>,
}

impl Scope {
    /// The scope of this account and Region, where both are well-formed.
    ///
    /// # Errors
    /// [`ArnError::Account`], [`ArnError::Region`].
    pub fn new(account_id: &str, region: &str) -> Result<Self, ArnError> {
        check_region(region)?;
        check_account(account_id)?;
        Ok(Self { account_id: account_id.into(), region: region.into() })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account_id, self.region)
    }
}

/// The ARN of a thing or an MQTT client, on which commands run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetArn(Arc<str>);

impl TargetArn {
    /// Parses `arn:PARTITION:iot:REGION:ACCOUNT:thing/NAME` or `…:client/ID`. Names may hold colons, slashes,
    /// spaces and any UTF-8.
    ///
    /// # Errors
    /// [`ArnError`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let resource = parse_resource(text)?;
        let name = resource.strip_prefix("thing/").or_else(|| resource.strip_prefix("client/"));
        check_name(name.ok_or(ArnError::Target)?)?;
        Ok(Self(text.into()))
    }

    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition.
    pub fn partition(&self) -> Partition<'_> {
        split(&self.0)[1]
    }

    /// The Region.
    pub fn region(&self) -> &str {
        split(&self.0)[3]
    }

    /// The account ID.
    pub fn account_id(&self) -> &str {
        split(&self.0)[4]
    }

    /// The resource part, `thing/NAME` or `client/ID`: the value of the label `target`.
    pub fn resource(&self) -> &str {
        split(&self.0)[5]
    }

    /// The account and Region.
    pub fn scope(&self) -> Scope {
        Scope { account_id: self.account_id().into(), region: self.region().into() }
    }
}

/// The ARN of a command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandArn(Arc<str>);

impl CommandArn {
    /// Parses `arn:PARTITION:iot:REGION:ACCOUNT:command/ID`.
    ///
    /// # Errors
    /// [`ArnError`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let id = parse_resource(text)?.strip_prefix("command/").ok_or(ArnError::Command)?;
        if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(ArnError::Command);
        }
        Ok(Self(text.into()))
    }

    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition.
    pub fn partition(&self) -> Partition<'_> {
        split(&self.0)[1]
    }

    /// The command ID: the value of the label `command`.
    pub fn id(&self) -> &str {
        let resource = split(&self.0)[5];
        resource.strip_prefix("command/").unwrap_or(resource)
    }

    /// The account and Region.
    pub fn scope(&self) -> Scope {
        let parts = split(&self.0);
        Scope { account_id: parts[4].into(), region: parts[3].into() }
    }
}

/// The six parts; the last keeps its colons. Missing ones are empty.
fn split(arn: &str) -> [&str; 6] {
    let mut parts = arn.splitn(6, ':');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Checks all parts but the resource, and returns that.
fn parse_resource(text: &str) -> Result<&str, ArnError> {
    let [arn, partition, service, region, account, resource] = split(text);
    if arn != "arn" || resource.is_empty() {
        return Err(ArnError::Form);
    }
    let lower = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if partition != "aws" && !(partition.starts_with("aws-") && partition.len() > 4 && lower(partition)) {
        return Err(ArnError::Partition);
    }
    if service != "iot" {
        return Err(ArnError::Service);
    }
    check_region(region)?;
    if !region_may_lie_in(region, partition) {
        return Err(ArnError::RegionOfOtherPartition);
    }
    check_account(account)?;
    Ok(resource)
}

/// `word-word-number`, with more words in the middle where AWS has them (`us-gov-west-1`).
fn check_region(region: &str) -> Result<(), ArnError> {
    let words: Vec<&str> = region.split('-').collect();
    let ok = match words.as_slice() {
        [first @ .., last] if first.len() >= 2 => {
            first.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
                && !last.is_empty()
                && last.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    };
    if ok { Ok(()) } else { Err(ArnError::Region) }
}

fn check_account(account: &str) -> Result<(), ArnError> {
    let ok = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    if ok { Ok(()) } else { Err(ArnError::Account) }
}

fn check_name(name: &str) -> Result<(), ArnError> {
    let ok = (1..=1024).contains(&name.len()) && !name.chars().any(char::is_control);
    if ok { Ok(()) } else { Err(ArnError::Name) }
}

/// China and GovCloud have Regions of their own; partitions that this program does not know are not judged.
fn region_may_lie_in(region: &str, partition: Partition<'_>) -> bool {
    match partition {
        "aws" => !region.starts_with("cn-") && !region.starts_with("us-gov-"),
        "aws-cn" => region.starts_with("cn-"),
        "aws-us-gov" => region.starts_with("us-gov-"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<String, ArnError> {
        TargetArn::parse(text).map(|arn| arn.resource().to_owned())
    }

    #[test]
    fn the_resource_keeps_what_names_may_hold() {
        for resource in ["thing/pump-7", "thing/a:b:c", "client/a/b c#d+e", "client/größe/日本", "client/%2F?x=y"] {
            let arn = format!("arn:aws:iot:eu-central-1:123456789012:{resource}");
            assert_eq!(target(&arn).as_deref(), Ok(resource));
        }
    }

    #[test]
    fn every_part_is_checked() {
        let cases = [
            ("", ArnError::Form),
            ("arn:aws:iot:eu-central-1:123456789012", ArnError::Form),
            ("arn:gcp:iot:eu-central-1:123456789012:thing/a", ArnError::Partition),
            ("arn:aws:ec2:eu-central-1:123456789012:thing/a", ArnError::Service),
            ("arn:aws:iot:frankfurt:123456789012:thing/a", ArnError::Region),
            ("arn:aws:iot::123456789012:thing/a", ArnError::Region),
            ("arn:aws:iot:cn-north-1:123456789012:thing/a", ArnError::RegionOfOtherPartition),
            ("arn:aws-cn:iot:eu-central-1:123456789012:thing/a", ArnError::RegionOfOtherPartition),
            ("arn:aws-us-gov:iot:us-east-1:123456789012:thing/a", ArnError::RegionOfOtherPartition),
            ("arn:aws:iot:eu-central-1:12345678901:thing/a", ArnError::Account),
            ("arn:aws:iot:eu-central-1:123456789012:job/a", ArnError::Target),
            ("arn:aws:iot:eu-central-1:123456789012:thing/", ArnError::Name),
            ("arn:aws:iot:eu-central-1:123456789012:client/a\nb", ArnError::Name),
        ];
        for (text, error) in cases {
            assert_eq!(target(text), Err(error), "{text}");
        }
        assert_eq!(
            CommandArn::parse("arn:aws:iot:eu-central-1:123456789012:command/a b").err(),
            Some(ArnError::Command)
        );
    }

    #[test]
    fn partitions_regions_and_accounts_are_read_off() {
        for (partition, region) in
            [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1"), ("aws-iso", "us-iso-east-1")]
        {
            let arn = TargetArn::parse(&format!("arn:{partition}:iot:{region}:123456789012:thing/a"));
            let parts = arn.map(|arn| (arn.partition().to_owned(), arn.scope()));
            assert_eq!(parts, Ok((partition.to_owned(), Scope::new("123456789012", region).expect("well-formed"))));
        }
        let command = CommandArn::parse("arn:aws:iot:eu-west-1:123456789012:command/reboot-2");
        assert_eq!(command.as_ref().map(CommandArn::id), Ok("reboot-2"));
    }
}
