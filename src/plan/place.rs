//! Where the system is built: as the user wishes, or by what the one evaluation and the workstation show.

use crate::facts::WorkstationFacts;
use serde::{Deserialize, Serialize};

/// What the user wishes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum BuildOn {
    /// Wherever it can be.
    #[default]
    Auto,
    /// The workstation's own Nix, with whatever builders it uses by itself.
    Local,
    /// A remote builder of the workstation's Nix, and nothing else.
    Builder,
    /// The target, once its disks are laid out.
    Target,
}

/// Where it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    /// By the workstation's Nix.
    Local,
    /// By a remote builder of the workstation's Nix.
    Builder,
    /// By the target.
    Target,
}

/// Where it is built, and why there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildPlace {
    /// Where.
    pub(crate) place: Place,
    /// Why, as a clause: "this workstation builds for aarch64-linux".
    pub(crate) why: String,
}

/// Decides for a derivation's platform. `target` is the platform of the target, as far as it is known.
///
/// # Errors
/// Says why it cannot be built there.
pub(super) fn decide(
    wish: BuildOn,
    system: Option<&str>,
    target: Option<&str>,
    workstation: &WorkstationFacts,
) -> Result<BuildPlace, String> {
    let at = |place, why: String| Ok(BuildPlace { place, why });
    let Some(system) = system else {
        let place = if wish == BuildOn::Target { Place::Target } else { Place::Local };
        return at(place, "its platform is not known".to_owned());
    };
    let own = &workstation.system;
    let target_builds = target.is_none_or(|target| target == system);
    match wish {
        BuildOn::Local => at(Place::Local, "--build-on local".to_owned()),
        BuildOn::Builder => match workstation.builder_for(system) {
            Some(builder) => at(Place::Builder, format!("{} builds for {system}", builder.uri)),
            None => Err(format!("none of this workstation's builders builds for {system}")),
        },
        BuildOn::Target if target_builds => at(Place::Target, "--build-on target".to_owned()),
        BuildOn::Target => {
            Err(format!("the target is {}, the system is built on {system}", target.unwrap_or("")))
        }
        BuildOn::Auto if workstation.has_toplevel => {
            at(Place::Local, "it is already in this workstation's store".to_owned())
        }
        BuildOn::Auto if workstation.builds(system) => {
            at(Place::Local, format!("this workstation builds for {system}"))
        }
        BuildOn::Auto => match workstation.builder_for(system) {
            Some(builder) => at(Place::Builder, format!("{} builds for {system}", builder.uri)),
            None if target_builds => at(
                Place::Target,
                format!("this workstation is {own} and has no builder for {system}"),
            ),
            None => Err(format!(
                "this workstation is {own} and has no builder for {system}; the target is {}",
                target.unwrap_or("")
            )),
        },
    }
}

impl Place {
    /// Where, in words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "on this workstation",
            Self::Builder => "on a remote builder",
            Self::Target => "on the target",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Builder;

    const ARM: &str = "aarch64-linux";

    fn mac(builders: &[&str]) -> WorkstationFacts {
        WorkstationFacts {
            system: "aarch64-darwin".into(),
            builders: builders
                .iter()
                .map(|system| Builder { uri: "ssh-ng://b".into(), systems: vec![(*system).into()] })
                .collect(),
            ..WorkstationFacts::default()
        }
    }

    #[test]
    fn auto_builds_where_it_is_possible() {
        let auto = |target, facts: &WorkstationFacts| {
            decide(BuildOn::Auto, Some(ARM), target, facts).map(|built| built.place)
        };
        let own = WorkstationFacts { system: ARM.into(), ..WorkstationFacts::default() };
        let emulates = WorkstationFacts { extra_platforms: vec![ARM.into()], ..mac(&[]) };
        let built = WorkstationFacts { has_toplevel: true, ..mac(&[]) };
        for (facts, target, place) in [
            (&own, None, Ok(Place::Local)),
            (&emulates, None, Ok(Place::Local)),
            (&built, Some("x86_64-linux"), Ok(Place::Local)),
            (&mac(&["x86_64-linux", ARM]), Some(ARM), Ok(Place::Builder)),
            (&mac(&["x86_64-linux"]), Some(ARM), Ok(Place::Target)),
            (&mac(&[]), None, Ok(Place::Target)),
        ] {
            assert_eq!(auto(target, facts), place, "{facts:?}");
        }
        let nobody = auto(Some("x86_64-linux"), &mac(&[])).unwrap_err();
        assert_eq!(
            nobody,
            "this workstation is aarch64-darwin and has no builder for aarch64-linux; the target is x86_64-linux"
        );
    }

    #[test]
    fn a_chosen_place_is_taken_or_refused() {
        let wish = |wish, target| decide(wish, Some(ARM), target, &mac(&["x86_64-linux"]));
        assert_eq!(wish(BuildOn::Local, None).unwrap().place, Place::Local);
        assert_eq!(wish(BuildOn::Target, Some(ARM)).unwrap().place, Place::Target);
        assert!(wish(BuildOn::Target, Some("x86_64-linux")).is_err());
        assert!(wish(BuildOn::Builder, Some(ARM)).is_err());
        let unknown = decide(BuildOn::Auto, None, None, &mac(&[])).unwrap();
        assert_eq!(unknown.place, Place::Local);
    }
}
