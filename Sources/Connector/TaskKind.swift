/// What a task is about, which only a person can settle.
public enum TaskKind: String, Sendable, CaseIterable {
    /// Somebody whose no is open is subscribed again in Mailchimp.
    case resubscribed
    /// A contact changed the address inside Mailchimp.
    case addressDiffers
    /// An address that is wanted is bound by somebody else's no.
    case addressBlocked
    /// A list was deleted in Mailchimp.
    case listGone
    /// Mailchimp refuses an account's credential.
    case credentialRevoked
    /// An instance paused itself, because Mailchimp refused too much.
    case rejections
    /// An address comes and goes, again and again.
    case oscillation
    /// A rule names something that is gone.
    case groupInvalid
    /// A mapped merge field is gone or takes no text, or a required one has no source.
    case mergeFieldMissing
}
