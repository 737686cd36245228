//! The rules saying no: a stable code, a sentence, and the field concerned.

use std::fmt;

macro_rules! codes {
    ($($name:ident = $code:literal, $because:literal;)*) => {
        /// Why a command was refused. The code is stable; the sentence finishes "no, because ...".
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($name),* }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            pub const fn because(self) -> &'static str {
                match self { $(Self::$name => $because),* }
            }
        }
    };
}

codes! {
    // identity and roles
    NotPermitted = "not_permitted", "the caller's role does not permit this action";
    CredentialRevoked = "credential_revoked", "the credential has been revoked";
    CredentialExpired = "credential_expired", "the credential has expired";
    CredentialScope = "credential_scope", "the credential is not scoped for this action";
    ActorNotActive = "actor_not_active", "the acting citizen is not active";
    KeyNotFound = "key_not_found", "there is no such key";
    KeyNotActive = "key_not_active", "the key is revoked or expired";
    RoleNotFound = "role_not_found", "there is no such role";
    RoleExists = "role_exists", "a role of that name exists";
    RoleImmutable = "role_immutable", "the seed roles cannot be changed";
    TierTooHigh = "tier_too_high", "nobody grants or acts above their own tier";
    LastPrincipal = "last_principal", "the last active principal of the city cannot be removed";
    UnknownAction = "unknown_action", "there is no such action";
    CredentialInvalid = "credential_invalid", "the credential is not one of this city's";
    CityFounded = "city_founded", "the city has been founded already";
    ActionNotHeld = "action_not_held", "nobody hands on an action they may not take themselves";
    KeyExists = "key_exists", "a key of that id exists";
    KeyRetired = "key_retired", "the key has been replaced already";
    KeyTooWide = "key_too_wide", "a key gives nothing that the issuing credential lacks";
    TooManyKeys = "too_many_keys", "the citizen has too many living keys";
    OverlapTooLong = "overlap_too_long", "a rotated key works for at most 7 more days";
    EntryTooLong = "entry_too_long", "what it would record is longer than an entry of the log can be (1 MiB)";
    // citizens
    CitizenNotFound = "citizen_not_found", "there is no such citizen";
    CitizenNotActive = "citizen_not_active", "the citizen is not active";
    CitizenNotSuspended = "citizen_not_suspended", "the citizen is not suspended";
    CitizenDeprovisioned = "citizen_deprovisioned", "the citizen has been deprovisioned";
    OperatorRequired = "operator_required", "an agent names its operator, model family and instructions digest";
    OperatorForbidden = "operator_forbidden", "only an agent has an operator, a model family and an instructions digest";
    OperatorNotActive = "operator_not_active", "the operator is not an active citizen";
    // guilds
    GuildNotFound = "guild_not_found", "there is no such guild";
    SlugTaken = "slug_taken", "that slug belongs to a guild, and slugs are never reused";
    FounderKind = "founder_kind", "only humans and agents can hold the founder rank";
    NotAMember = "not_a_member", "the caller is not an active member of the guild";
    MissingScope = "missing_scope", "the caller's membership lacks the scope for this class of action";
    MemberNotFound = "member_not_found", "there is no such living member";
    MemberExists = "member_exists", "that member already belongs to the guild";
    TooManyGuilds = "too_many_guilds", "a citizen is a member of at most 1000 guilds";
    MemberNotActive = "member_not_active", "the member is not active";
    MemberNotSuspended = "member_not_suspended", "the member is not suspended";
    MemberRemoved = "member_removed", "a removed member cannot re-join by themselves";
    MemberKindMismatch = "member_kind_mismatch", "the member is of another kind";
    UnknownRank = "unknown_rank", "the guild has no such rank";
    RankTooHigh = "rank_too_high", "nobody assigns or edits a rank at or above their own";
    RanksInvalid = "ranks_invalid", "the list of ranks is empty, repeats a name, or is too long";
    RankInUse = "rank_in_use", "a rank that living members hold cannot be removed";
    ScopeNotHeld = "scope_not_held", "nobody grants scopes they lack";
    OwnMembership = "own_membership", "nobody changes their own rank or scopes";
    LastFounder = "last_founder", "the guild would be left without an active founder";
    TooFewRatifiers = "too_few_ratifiers", "fewer active ratifiers would remain than the governance needs";
    GovernanceLockedOut = "governance_locked_out", "afterwards no path could change the governance again";
    GovernanceInvalid = "governance_invalid", "the governance document contradicts itself";
    NotTheDecider = "not_the_decider", "only the named decider decides this class of action";
    NoDelegation = "no_delegation", "no delegation covers this action by this member";
    LimitExceeded = "limit_exceeded", "the amount is above the limit of this action or period";
    NoRuleMatches = "no_rule_matches", "no declared rule allows this action";
    NotUnderConsensus = "not_under_consensus", "this action is not decided by proposals here";
    NotGoverned = "not_governed", "this action needs no decision, send it directly";
    OtherGuild = "other_guild", "the proposed command belongs to another guild";
    ProposalNotOpen = "proposal_not_open", "there is no open proposal of that id";
    ProposalExpired = "proposal_expired", "the proposal's life has ended";
    ProposalNotExpired = "proposal_not_expired", "the proposal's life has not ended yet";
    NotARatifier = "not_a_ratifier", "the caller is not an active ratifier of this proposal";
    NotTheProposer = "not_the_proposer", "only the proposer can withdraw a proposal";
    ReservationLimit = "reservation_limit", "open proposals would reserve more than the guild allows";
    TooManyProposals = "too_many_proposals", "the guild has too many open proposals";
    GuildDormant = "guild_dormant", "the guild is dormant";
    GuildNotDormant = "guild_not_dormant", "the guild is not dormant";
    GuildDissolving = "guild_dissolving", "the guild is dissolving";
    GuildNotDissolving = "guild_not_dissolving", "the guild is not dissolving";
    GuildDissolved = "guild_dissolved", "the guild has been dissolved";
    GuildNotActive = "guild_not_active", "the guild is not active";
    LivingChildren = "living_children", "the guild has living children";
    HoldsOpen = "holds_open", "holds or offers are still open";
    ParentCycle = "parent_cycle", "a guild cannot be its own ancestor";
    TooDeep = "too_deep", "the hierarchy would be deeper than 8";
    ParentNotProposed = "parent_not_proposed", "the child has not proposed this parent";
    NotAChild = "not_a_child", "that guild is not a child of this one";
    HasParent = "has_parent", "the guild already has a parent";
    GuildNotLeaderless = "guild_not_leaderless", "the guild has a founder";
    GuildLeaderless = "guild_leaderless", "the guild has no active founder";
    FallbackCannotReceive = "fallback_cannot_receive", "the fallback treasury cannot receive";
    ReceiverIsSelf = "receiver_is_self", "a dissolving guild cannot be its own receiver";
    // capabilities
    HolderNotActive = "holder_not_active", "the holder is not active";
    TooManyActions = "too_many_actions", "the city knows of at most 10000 actions";
    HolderNotFound = "holder_not_found", "there is no such holder";
    GrantNotFound = "grant_not_found", "there is no such grant, or it was pruned";
    GrantNotLiving = "grant_not_living", "the holder has no living grant of that id";
    GrantExists = "grant_exists", "the holder has a living grant of that kind and ref";
    GrantNotExpired = "grant_not_expired", "the grant's time is not over yet";
    GrantNotPrunable = "grant_not_prunable", "only what has been dead for 30 days is pruned";
    ComputedCapability = "computed_capability", "that capability follows from a membership or a role, and is not granted by hand";
    SourceMismatch = "source_mismatch", "that source does not speak of such capabilities";
    RefNotOfSource = "ref_not_of_source", "names that begin with a guild's id and / are that guild's to give, and a guild gives no others";
    NotTheSourceOwner = "not_the_source_owner", "the caller has no authority over that source";
    NotInsideGuild = "not_inside_guild", "a guild grants to itself and its active members only";
    RankTooLow = "rank_too_low", "it takes the guild's coordinator rank or one above it";
    TooManyGuildGrants = "too_many_guild_grants", "somebody has at most 2000 grants of guilds, those handed on from them counted";
    NotTheGranter = "not_the_granter", "only the holder, who granted it, or the owner of its source may do that";
    NotTheHolder = "not_the_holder", "only the holder hands on what they have";
    Withheld = "withheld", "somebody revoked it, so an importer does not bring it back";
    ScopeTooLong = "scope_too_long", "a scope lists at most 100 actions";
    ScopeWider = "scope_wider", "a grant only ever gets narrower";
    NotDelegable = "not_delegable", "the grant may not be handed on";
    DelegationTooDeep = "delegation_too_deep", "a chain of delegation has at most 5 grants";
    TooManyDelegations = "too_many_delegations", "at most 1000 living grants hang on one";
    NotAVerifier = "not_a_verifier", "only verifiers record what they found out";
    TooManyFindings = "too_many_findings", "at most 1000 findings are recorded at once";
    // reputation
    NotAnOutcome = "not_an_outcome", "an outcome is one of the nine kinds that are no opinions";
    SameHousehold = "same_household", "nobody attests for themselves, their operator or their agents";
    OutcomeAttested = "outcome_attested", "that outcome of that work was attested for that holder before";
    NoEvidenceOfOwn = "no_evidence_of_own", "whoever speaks for or against others has shown something in that scope";
    OpinionGiven = "opinion_given", "an opinion of that citizen was given in that scope within the last 30 days";
    TooManyOpinions = "too_many_opinions", "nobody gives more than 100 opinions in 30 days";
    TooManyScopes = "too_many_scopes", "there is evidence of this citizen in 300 scopes, which is the most";
    EvidenceNotFound = "evidence_not_found", "there is no such piece of evidence about that holder";
    NotDisputed = "not_disputed", "only what its holder disputes is reversed";
    AsOfInFuture = "as_of_in_future", "nobody computes the future";
    NothingToVerify = "nothing_to_verify", "the city itself is the source of that grant";
    // treasuries
    TreasuryNotFound = "treasury_not_found", "there is no such treasury";
    NotTheOwner = "not_the_owner", "only the owner of this treasury may do that";
    CurrencyExists = "currency_exists", "that currency is registered with another scale";
    UnknownCurrency = "unknown_currency", "that currency is not registered";
    ScaleTooLarge = "scale_too_large", "a currency has at most 18 decimals";
    AmountNotPositive = "amount_not_positive", "the amount must be above zero";
    TooManyDecimals = "too_many_decimals", "the amount has more decimals than its currency";
    AmountOverflow = "amount_overflow", "the amount is too large";
    InsufficientFunds = "insufficient_funds", "less than that is available";
    FeeTooLarge = "fee_too_large", "the fee is larger than the amount";
    NotAnAttester = "not_an_attester", "the caller may not attest inflows of that currency and source";
    AttesterConflict = "attester_conflict", "nobody attests inflows to a treasury they own or can spend from";
    ReferenceReused = "reference_reused", "that reference was used for something else";
    EffectiveInFuture = "effective_in_future", "effective_at is after the time of recording";
    PeriodSettled = "period_settled", "effective_at lies in a period that has been settled";
    SettleInexact = "settle_inexact", "a past period ends at midnight UTC, at most 366 days back, or after its day's last movement";
    SettleInFuture = "settle_in_future", "a period that has not ended cannot be settled";
    TreasuryFrozen = "treasury_frozen", "the treasury is frozen";
    NotFrozen = "not_frozen", "the treasury is not frozen by this side";
    TreasuryClosed = "treasury_closed", "the owner is gone: this treasury takes nothing in";
    HoldNotOpen = "hold_not_open", "there is no open hold of that id: captured, released, expired, or never placed";
    HoldExpired = "hold_expired", "the hold has expired";
    HoldNotExpired = "hold_not_expired", "the hold has not expired yet";
    HoldAwaitsProposal = "hold_awaits_proposal", "the hold belongs to an open proposal";
    BeyondHold = "beyond_hold", "the capture is larger than the hold leaves for this payee";
    PayeeNotInHold = "payee_not_in_hold", "the hold does not name this payee";
    LegsInvalid = "legs_invalid", "a hold or capture names 1 to 100 legs";
    AutoAcceptTooLong = "auto_accept_too_long", "at most 100 treasuries are accepted from without asking";
    PayeeRepeated = "payee_repeated", "a payee is named twice";
    SameTreasury = "same_treasury", "money cannot move from a treasury to itself";
    OfferNotOpen = "offer_not_open", "there is no open offer of that id";
    OfferExpired = "offer_expired", "the offer has expired";
    OfferNotExpired = "offer_not_expired", "the offer has not expired yet";
    SharesNotWhole = "shares_not_whole", "shares are positive and sum to 10000 basis points";
    LegTooSmall = "leg_too_small", "a share would round down to nothing";
    ExpiryInPast = "expiry_in_past", "expires_at is not in the future";
    ExpiryTooFar = "expiry_too_far", "expires_at is more than 366 days away";
    TooManyHolds = "too_many_holds", "the treasury has too many open holds and offers";
    MandateNotFound = "mandate_not_found", "the guild has given no such mandate";
    MandatePayee = "mandate_payee", "the mandate names another payee";
    // commands
    VersionConflict = "version_conflict", "the stream is at another version than expected";
    KeyReused = "key_reused", "that idempotency key was used for another request";
    TooManyEvents = "too_many_events", "the command would change too much at once";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no, because {}{}", code.because(), detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
pub struct Rejection {
    pub code: Code,
    /// Numbers and public identifiers that help the caller; never typed text.
    pub detail: Option<String>,
    /// The field of the command concerned.
    pub field: Option<&'static str>,
}

impl Rejection {
    pub const fn new(code: Code) -> Self {
        Self { code, detail: None, field: None }
    }

    pub fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    pub const fn field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }
}
