//! The SAI side of the model: what each call does, and when it is refused.

use std::collections::BTreeMap;

use haorch::{Asic, HaScopeAttribute, HaScopeAttributes, HaSetAttribute, HaSetAttributes, Oid, SaiStatus};

use crate::HA_SETS_MAX;
use crate::channel::Channel;
use crate::model::{AsicModel, Set, port};
use crate::scope::Scope;

impl Asic for AsicModel {
    fn create_ha_set(&mut self, attributes: &HaSetAttributes) -> Result<Oid, SaiStatus> {
        if attributes.local_ip == attributes.peer_ip
            || attributes.local_ip.is_ipv4() != attributes.peer_ip.is_ipv4()
        {
            return Err(SaiStatus::InvalidParameter);
        }
        let is_taken = |set: &Set| {
            set.attributes.local_ip == attributes.local_ip
                && set.attributes.peer_ip == attributes.peer_ip
                && port(&set.attributes) == port(attributes)
        };
        if self.sets.values().any(is_taken) {
            return Err(SaiStatus::ItemAlreadyExists);
        }
        if self.sets.len() >= HA_SETS_MAX {
            return Err(SaiStatus::TableFull);
        }
        let oid = self.new_oid();
        let session = Self::new_session(&mut self.session);
        self.sets.insert(
            oid,
            Set {
                channel: Channel::new(
                    self.now,
                    attributes.dp_channel_probe_interval_ms,
                    attributes.dp_channel_probe_fail_threshold,
                ),
                attributes: attributes.clone(),
                told_alive: None,
                scope: None,
                session,
                term: 0,
            },
        );
        Ok(oid)
    }

    fn set_ha_set_attribute(&mut self, ha_set: Oid, attribute: &HaSetAttribute) -> Result<(), SaiStatus> {
        let now = self.now;
        let set = self.sets.get_mut(&ha_set).ok_or(SaiStatus::ItemNotFound)?;
        let HaSetAttribute::PeerIp(peer_ip) = attribute;
        if *peer_ip == set.attributes.local_ip {
            return Err(SaiStatus::InvalidParameter);
        }
        if *peer_ip != set.attributes.peer_ip {
            set.attributes.peer_ip = *peer_ip;
            // Another peer: nothing that was heard counts.
            set.channel.start_over(now);
        }
        Ok(())
    }

    fn remove_ha_set(&mut self, ha_set: Oid) -> Result<(), SaiStatus> {
        let set = self.sets.get(&ha_set).ok_or(SaiStatus::ItemNotFound)?;
        if set.scope.is_some() {
            return Err(SaiStatus::ObjectInUse);
        }
        self.sets.remove(&ha_set);
        Ok(())
    }

    fn create_ha_scope(&mut self, attributes: &HaScopeAttributes) -> Result<Oid, SaiStatus> {
        let oid = self.new_oid();
        let session = Self::new_session(&mut self.session);
        let set = self.sets.get_mut(&attributes.ha_set_id).ok_or(SaiStatus::InvalidParameter)?;
        if set.scope.is_some() {
            return Err(SaiStatus::InsufficientResources);
        }
        // An ASIC without an admin state is always on.
        let mut scope = Scope::new(attributes.dash_ha_role, attributes.admin_state.unwrap_or(true), session);
        scope.term = set.term;
        set.scope = Some((oid, attributes.clone(), scope));
        Ok(oid)
    }

    fn set_ha_scope_attribute(
        &mut self,
        ha_scope: Oid,
        attribute: HaScopeAttribute,
    ) -> Result<(), SaiStatus> {
        let (now, config) = (self.now, self.config);
        let set = set_of_scope(&mut self.sets, ha_scope).ok_or(SaiStatus::ItemNotFound)?;
        let Some((oid, attributes, scope)) = &mut set.scope else { return Err(SaiStatus::ItemNotFound) };
        match attribute {
            HaScopeAttribute::DashHaRole(role) => {
                attributes.dash_ha_role = role;
                scope.role = role;
            }
            HaScopeAttribute::AdminState(is_up) => {
                attributes.admin_state = Some(is_up);
                scope.admin_up = is_up;
            }
            HaScopeAttribute::VipV4(vip) => attributes.vip_v4 = vip,
            HaScopeAttribute::VipV6(vip) => attributes.vip_v6 = vip,
            // The model's flows have nothing to reconcile.
            HaScopeAttribute::FlowReconcileRequested => {}
            HaScopeAttribute::ActivateRole => {
                let mut seen = Vec::new();
                if !scope.activate(now, &config, &set.channel, &mut seen) {
                    return Err(SaiStatus::InvalidParameter);
                }
                Self::report(&mut self.events, *oid, scope, &seen);
            }
        }
        Ok(())
    }

    fn remove_ha_scope(&mut self, ha_scope: Oid) -> Result<(), SaiStatus> {
        let session = Self::new_session(&mut self.session);
        let set = set_of_scope(&mut self.sets, ha_scope).ok_or(SaiStatus::ItemNotFound)?;
        set.scope = None;
        // What is left of it is a new life without a scope, and says so.
        set.session = session;
        Ok(())
    }
}

fn set_of_scope(sets: &mut BTreeMap<Oid, Set>, ha_scope: Oid) -> Option<&mut Set> {
    sets.values_mut().find(|set| set.scope.as_ref().is_some_and(|(oid, _, _)| *oid == ha_scope))
}
